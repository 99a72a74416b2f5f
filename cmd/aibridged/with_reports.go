package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/coder/aibridged/aibridgedserver/prices"
	"github.com/coder/aibridged/aibridgedserver/reports"
)

// newReports returns the reports of a store, and the prices that they know.
func newReports(store *store, overrides []prices.Override) (*reports.Reports, *prices.Book, error) {
	book, err := prices.New(overrides)
	if err != nil {
		return nil, nil, err
	}
	return reports.New(store.db, store, book), book, nil
}

// withReports opens the database for as long as use runs, brings what is derived from the records up to date, and shows
// how far that is. Prices are those of the file that --config names or, if there is none, those of the gateway that last ran.
func withReports(cmd *cobra.Command, s settings, use func(ctx context.Context, store *store, of *reports.Reports) error) error {
	if err := s.existing(); err != nil {
		return err
	}
	ctx := cmd.Context()
	return withStore(ctx, s, func(store *store) error {
		overrides, err := reports.SavedPrices(ctx, store.db)
		if s.configFile != "" {
			var c config
			if c, err = loadConfig(s.configFile); err == nil {
				overrides, err = c.overrides()
			}
		}
		if err != nil {
			return err
		}
		of, _, err := newReports(store, overrides)
		if err != nil {
			return err
		}
		bar := newProgress(cmd.ErrOrStderr(), "reading new records")
		_, err = of.Digest(ctx, reports.DigestOptions{Progress: bar.set})
		bar.end()
		if err != nil {
			return err
		}
		return use(ctx, store, of)
	})
}
