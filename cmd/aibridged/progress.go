package main

import (
	"io"

	"github.com/schollz/progressbar/v3"
)

// progress shows how far a long command is, if it writes to a terminal. The zero progress shows nothing.
type progress struct{ bar *progressbar.ProgressBar }

// newProgress begins to show a work on out, which is a command's standard error. The caller calls end.
func newProgress(out io.Writer, work string) *progress {
	if !isTerminal(out) {
		return &progress{}
	}
	return &progress{progressbar.NewOptions64(-1, progressbar.OptionSetWriter(out), progressbar.OptionSetDescription(work),
		progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionClearOnFinish(), progressbar.OptionSetSpinnerChangeInterval(0))}
}

// set shows that done of all things are done. If all is 0, it is not known how many there are.
func (p *progress) set(done, all int64) {
	if p.bar == nil {
		return
	}
	if all > 0 && p.bar.GetMax64() != all {
		p.bar.ChangeMax64(all)
	}
	_ = p.bar.Set64(done) // What a terminal does not show is no failure of the command.
}

// end removes what is shown.
func (p *progress) end() {
	if p.bar != nil {
		_ = p.bar.Finish() // The same.
	}
}
