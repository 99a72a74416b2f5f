package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/coder/aibridged/aibridgedserver"
)

// providerReport is what provider list says of a provider.
type providerReport struct {
	Name     string      `json:"name"`
	Type     string      `json:"type"`
	BaseURL  string      `json:"base_url"`
	Disabled bool        `json:"disabled"`
	From     string      `json:"from"` // config, config, changed or command.
	Keys     []keyConfig `json:"keys"` // References, never keys.
	// Error says that the settings cannot be read.
	Error string `json:"error,omitempty"`
	// Live is what the gateway that runs knows. Nil: none runs, or it does not know the provider yet.
	Live *liveProvider `json:"live"`
}

func newProviderListCommand(s *settings) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the providers, and the states of their keys",
		Long: `List the providers: where each comes from, whether the gateway serves it, and of each key its first and
last characters, its state, since when it has it, and why. The states are those of the gateway that runs
on the data directory; it is asked at its listener for operators.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := s.existing(); err != nil {
				return err
			}
			return withStore(cmd.Context(), *s, func(store *store) error {
				stored, err := store.Providers(cmd.Context())
				if err != nil {
					return err
				}
				live, unknown := s.askGateway(cmd.Context())
				reports := reportProviders(stored, live)
				if asJSON {
					return writeProvidersJSON(cmd.OutOrStdout(), reports)
				}
				return writeProviders(cmd.OutOrStdout(), reports, unknown)
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line, for each provider")
	return cmd
}

// sourceOf says where something in the database comes from.
func sourceOf(configured, changed bool) string {
	switch {
	case !configured:
		return "command"
	case changed:
		return "config, changed"
	}
	return "config"
}

func reportProviders(stored []aibridgedserver.Provider, live []liveProvider) []providerReport {
	known := map[string]*liveProvider{}
	for i := range live {
		known[live[i].Name] = &live[i]
	}
	reports := make([]providerReport, len(stored))
	for i, one := range stored {
		reports[i] = providerReport{
			Name: one.Name, Type: one.Type, BaseURL: one.BaseURL, Disabled: one.Disabled, From: sourceOf(one.Configured, one.Changed), Live: known[one.Name],
		}
		p, err := providerOf(one)
		if err != nil {
			reports[i].Error = err.Error()
		}
		reports[i].Keys = p.Keys
	}
	return reports
}

func writeProvidersJSON(out io.Writer, reports []providerReport) error {
	encoder := newJSONLines(out)
	encoder.SetEscapeHTML(false)
	for _, report := range reports {
		if err := encoder.Encode(report); err != nil {
			return err
		}
	}
	return nil
}

// status says in words whether the provider is served.
func (r providerReport) status() string {
	switch {
	case r.Error != "":
		return "error: " + r.Error
	case r.Live != nil:
		return r.Live.State
	case r.Disabled:
		return "disabled"
	}
	return "enabled"
}

// writeProviders prints tables. Unknown says why the states of keys are not known, if they are not.
func writeProviders(out io.Writer, reports []providerReport, unknown error) error {
	if len(reports) == 0 {
		_, err := fmt.Fprintln(out, "No providers: `aibridged provider add` makes one.")
		return err
	}
	table := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(table, "PROVIDER\tTYPE\tFROM\tSTATUS")
	for _, r := range reports {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", shown(r.Name, 64), shown(r.Type, 32), r.From, shown(r.status(), 400))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if unknown != nil {
		if _, err := fmt.Fprintf(out, "\nNothing is known of keys: %v.\n\n", unknown); err != nil {
			return err
		}
		fmt.Fprintln(table, "PROVIDER\tKEY\tACCOUNT")
		for _, r := range reports {
			for _, key := range r.Keys {
				fmt.Fprintf(table, "%s\t%s\t%s\n", shown(r.Name, 64), shown(key.shown(), 200), shown(key.Account, 64))
			}
		}
		return table.Flush()
	}
	fmt.Fprintln(out)
	fmt.Fprintln(table, "PROVIDER\tKEY\tACCOUNT\tSTATE\tSINCE\tWHY")
	for _, r := range reports {
		if r.Live == nil {
			continue
		}
		for _, key := range r.Live.Keys {
			since, why := "-", key.Why
			if key.Since != nil {
				since = key.Since.Local().Format(time.DateTime)
				why += ", it rests until " + key.Until.Local().Format(time.DateTime)
			}
			if len(key.Models) > 0 {
				why += " for " + strings.Join(key.Models, ", ")
			}
			if why == "" {
				why = "-"
			}
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", shown(r.Name, 64), shown(key.Hint, 64), shown(key.Account, 64), key.State, since, shown(why, 400))
		}
	}
	return table.Flush()
}

// shown returns where the key is.
func (k keyConfig) shown() string {
	if aibridgedserver.IsSecretReference(k.Key) {
		return "in the database, encrypted"
	}
	return k.Key
}
