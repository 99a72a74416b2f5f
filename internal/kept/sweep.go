package kept

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// Sweep removes the files of a directory that were last written to before a time, finished or not, and returns how many
// it removed. It stops when ctx ends, without an error: the next call goes on.
func Sweep(ctx context.Context, dir string, before time.Time) (removed int, err error) {
	for file, err := range Files(dir) {
		if err != nil {
			return removed, fmt.Errorf("list kept exchanges: %w", err)
		}
		if ctx.Err() != nil {
			return removed, nil
		}
		if !file.Written.Before(before) {
			continue
		}
		if err := os.Remove(file.Path); err == nil {
			removed++
		} else if !errors.Is(err, fs.ErrNotExist) {
			return removed, fmt.Errorf("remove kept exchange: %w", err)
		}
	}
	return removed, nil
}
