package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/aibridgedserver"
)

func newProviderCommand(s *settings) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "provider",
		Short: "List, add and change providers; a gateway that runs takes changes within a second",
		Args:  cobra.NoArgs,
		RunE:  showHelp,
	}
	cmd.AddCommand(
		newProviderListCommand(s), newProviderAddCommand(s), newProviderSetCommand(s),
		newProviderSwitchCommand(s, "enable", "Serve a provider that is disabled", false),
		newProviderSwitchCommand(s, "disable", "Answer all requests to a provider with 503", true),
		newProviderRemoveCommand(s),
	)
	return cmd
}

// referencesHelp says how secrets are given.
const referencesHelp = `A secret is never an argument, which other users of the machine could read. REF is ${NAME_OF_A_VARIABLE},
which is looked up in the environment of serve, or file:/path/to/a/file, which serve reads, or - for standard
input: then the database keeps it, encrypted.`

// providerFlags are the settings of a provider as flags.
type providerFlags struct {
	baseURL, settings, usage   string
	keys, headers, passthrough []string
	actor                      bool
}

func (f *providerFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.baseURL, "base-url", "", "the address of the upstream, in the place of the vendor's")
	flags.StringArrayVar(&f.keys, "key", nil, "a key, as `REF` or ACCOUNT=REF; several of them are all used")
	flags.StringArrayVar(&f.headers, "header", nil, "a `header` that each request gets, as NAME: VALUE; the value may be a REF")
	flags.StringArrayVar(&f.passthrough, "passthrough", nil, "a further `route`, such as \"GET /v1/files/\"")
	flags.StringVar(&f.usage, "usage-in-streams", "", "ask for the usage of streams: ask or never")
	flags.BoolVar(&f.actor, "actor-headers", false, "tell the upstream who asks")
	flags.StringVar(&f.settings, "settings", "", "a YAML `file` with settings as an entry of providers in the configuration has them")
}

// apply changes p by the flags that are set.
func (f *providerFlags) apply(cmd *cobra.Command, p *providerConfig) error {
	if f.settings != "" {
		if err := p.applyFile(f.settings); err != nil {
			return err
		}
	}
	isSet := cmd.Flags().Changed
	if isSet("base-url") {
		p.BaseURL = f.baseURL
	}
	if isSet("passthrough") {
		p.Passthrough = f.passthrough
	}
	if isSet("usage-in-streams") {
		p.UsageInStreams = aibridge.UsageInStreams(f.usage)
	}
	if isSet("actor-headers") {
		p.ActorHeaders = f.actor
	}
	if isSet("header") {
		if err := f.readHeaders(cmd.InOrStdin(), p); err != nil {
			return err
		}
	}
	if isSet("key") {
		var err error
		if p.Keys, err = readKeys(f.keys, cmd.InOrStdin()); err != nil {
			return err
		}
	}
	return p.check()
}

// keyIsInput reports whether a key is to come by standard input.
func (f *providerFlags) keyIsInput() bool {
	return slices.ContainsFunc(f.keys, func(key string) bool { return key == "-" || strings.HasSuffix(key, "=-") && !isReference(key) })
}

// readHeaders reads the arguments of --header.
func (f *providerFlags) readHeaders(in io.Reader, p *providerConfig) error {
	p.Headers, p.literalHeaders = map[string]string{}, map[string]string{}
	read := f.keyIsInput()
	for _, header := range f.headers {
		name, value, ok := strings.Cut(header, ":")
		if !ok {
			return errors.New("--header: write NAME: VALUE")
		}
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		switch {
		case value == "-" && read:
			return errors.New("--header: standard input can give one key or one header: add the others by ${NAME_OF_A_VARIABLE} or file:/path")
		case value == "-":
			read = true
			literal, err := stdinSecret(in, "value", "--header 'NAME: file:/path'")
			if err != nil {
				return err
			}
			p.literalHeaders[name] = literal
		}
		p.Headers[name] = value
	}
	return nil
}

// applyFile takes settings from a file. What it does not name stays.
func (p *providerConfig) applyFile(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("--settings: %w", err)
	}
	before := *p
	if err := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict()).Decode(p); err != nil && !errors.Is(err, io.EOF) {
		// The error leaves out the source text: it could contain a secret in the wrong place.
		return fmt.Errorf("--settings %s: %s", file, yaml.FormatError(err, false, false))
	}
	if p.Name != before.Name || p.Type != before.Type {
		return fmt.Errorf("--settings %s: it is for the provider %q of type %q, not for %q of type %q", file, p.Name, p.Type, before.Name, before.Type)
	}
	return nil
}

// readKeys reads the arguments of --key. Errors repeat none, since somebody may have given a key itself.
func readKeys(texts []string, in io.Reader) ([]keyConfig, error) {
	keys, read := make([]keyConfig, len(texts)), false
	for i, text := range texts {
		key := keyConfig{Key: text}
		if account, reference, ok := strings.Cut(text, "="); ok && !isReference(text) {
			key = keyConfig{Account: account, Key: reference}
		}
		switch {
		case key.Key == "-" && read:
			return nil, errors.New("--key: standard input can give one key: add the others by ${NAME_OF_A_VARIABLE} or file:/path")
		case key.Key == "-":
			read, key.Key = true, ""
			var err error
			if key.literal, err = stdinSecret(in, "key", "--key file:/path"); err != nil {
				return nil, err
			}
		case !isReference(key.Key):
			return nil, fmt.Errorf("--key: %w, or - for standard input", errNoReference)
		}
		keys[i] = key
	}
	return keys, nil
}

func newProviderAddCommand(s *settings) *cobra.Command {
	var (
		flags    providerFlags
		kind     string
		disabled bool
	)
	cmd := &cobra.Command{
		Use:   "add NAME --type TYPE",
		Short: "Add a provider",
		Long:  "Add a provider, beside those of the configuration file.\n\n" + referencesHelp,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p := providerConfig{Name: args[0], Type: kind, Disabled: disabled}
			if err := flags.apply(cmd, &p); err != nil {
				return err
			}
			stored, err := p.stored()
			if err != nil {
				return err
			}
			return withStore(cmd.Context(), *s, func(store *store) error {
				return adviseProvider(store.AddProvider(cmd.Context(), stored))
			})
		},
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&kind, "type", "", "the type: "+strings.Join(slices.Sorted(maps.Keys(providerConfig{}.constructors())), ", "))
	cmd.Flags().BoolVar(&disabled, "disabled", false, "add it disabled")
	_ = cmd.MarkFlagRequired("type") // The flag is defined above.
	return cmd
}

func newProviderSetCommand(s *settings) *cobra.Command {
	var flags providerFlags
	cmd := &cobra.Command{
		Use:   "set NAME",
		Short: "Change settings of a provider; those that are not named stay",
		Long: `Change settings of a provider; those that are not named stay. A flag that may be given several times
replaces all values that were there. A change of a provider that the configuration file names stays until the
file says something else of it than before.

` + referencesHelp,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return changeProvider(cmd.Context(), s, args[0], func(p *providerConfig) error { return flags.apply(cmd, p) })
		},
	}
	flags.add(cmd)
	return cmd
}

func newProviderSwitchCommand(s *settings, use, short string, disabled bool) *cobra.Command {
	return &cobra.Command{
		Use:   use + " NAME",
		Short: short,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return changeProvider(cmd.Context(), s, args[0], func(p *providerConfig) error {
				p.Disabled = disabled
				return nil
			})
		},
	}
}

// changeProvider changes the settings of a provider in the database.
func changeProvider(ctx context.Context, s *settings, name string, change func(*providerConfig) error) error {
	if err := s.existing(); err != nil {
		return err
	}
	return withStore(ctx, *s, func(store *store) error {
		return adviseProvider(store.ChangeProvider(ctx, name, func(stored *aibridgedserver.Provider) error {
			p, err := providerOf(*stored)
			if err != nil {
				return err
			}
			if err := change(&p); err != nil {
				return err
			}
			*stored, err = p.stored()
			return err
		}))
	})
}

func newProviderRemoveCommand(s *settings) *cobra.Command {
	return &cobra.Command{
		Use:   "remove NAME",
		Short: "Remove a provider that a command has added",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := s.existing(); err != nil {
				return err
			}
			return withStore(cmd.Context(), *s, func(store *store) error {
				return adviseProvider(store.RemoveProvider(cmd.Context(), args[0]))
			})
		},
	}
}

// adviseProvider adds to an error what to do.
func adviseProvider(err error) error {
	switch {
	case errors.Is(err, aibridgedserver.ErrUnknownProvider):
		return fmt.Errorf("%w; `aibridged provider list` shows those that are there", err)
	case errors.Is(err, aibridgedserver.ErrKnownProvider):
		return fmt.Errorf("%w; `aibridged provider set` changes it", err)
	case errors.Is(err, aibridgedserver.ErrConfigured):
		return fmt.Errorf("%w: take it out there and send SIGHUP to serve, or disable it", err)
	}
	return err
}
