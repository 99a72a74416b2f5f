package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

func newSecretsCommand(s *settings) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "secrets",
		Short: "Change the key that secrets in the database are encrypted with; works while serve runs",
		Args:  cobra.NoArgs,
		RunE:  showHelp,
	}
	var drop bool
	rotate := &cobra.Command{
		Use:   "rotate",
		Short: "Encrypt all secrets in the database with a new key",
		Long: `Encrypt all secrets in the database with a new key: provider keys and MCP tokens that were given by
standard input. The new key takes the place of the old one in the file encryption.key of the data
directory. If the keys are in AIBRIDGED_ENCRYPTION_KEY instead, put the new key in front of the old
one there, with a comma between them, for serve and for this command; afterwards take the old one away.

A gateway that runs needs no restart if the key is in the file.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := s.existing(); err != nil {
				return err
			}
			added, err := s.addEncryptionKey(drop)
			if err != nil {
				return err
			}
			dropped := 0
			err = withStore(cmd.Context(), *s, func(store *store) error {
				dropped, err = store.RotateSecrets(cmd.Context(), drop)
				return err
			})
			if err == nil {
				err = s.forgetEncryptionKeys(added)
			}
			if err == nil && dropped > 0 {
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d secrets that cannot be read were deleted: set them again; all others are kept\n", dropped)
			}
			return err
		},
	}
	rotate.Flags().BoolVar(&drop, "drop-unreadable", false, "delete the secrets whose key is lost; all that can be read are kept, and encrypted with the new key")
	cmd.AddCommand(rotate)
	return cmd
}

// addEncryptionKey puts a new key in front of those in the file, which are needed until the rotation is done, and returns
// its line. It returns nothing if the keys are in the environment.
func (s settings) addEncryptionKey(lost bool) (added string, err error) {
	if os.Getenv(encryptionVariable) != "" {
		keys, err := s.encryptionKeys(false)
		if err == nil && len(keys) < 2 && !lost {
			err = fmt.Errorf("%s has one key: put a new one in front of it, with a comma between them", encryptionVariable)
		}
		return "", err
	}
	old, err := readSecret(s.encryptionFile(), "key")
	if err != nil && (!lost || !errors.Is(err, fs.ErrNotExist)) {
		if _, explained := s.encryptionKeys(false); explained != nil {
			err = explained
		}
		return "", err
	}
	if _, err := parseEncryptionKeys(strings.Fields(old), s.encryptionPlace()); err != nil {
		if !lost {
			return "", err
		}
		old = ""
	}
	added = newEncryptionKey()
	return added, replacePrivateFile(s.encryptionFile(), added+old)
}

// forgetEncryptionKeys deletes all keys from the file but the one that was added. If another rotation has added one since,
// it leaves that to it.
func (s settings) forgetEncryptionKeys(added string) error {
	if added == "" {
		return nil
	}
	now, err := readSecret(s.encryptionFile(), "key")
	if err != nil || !strings.HasPrefix(now, added) {
		return err
	}
	return replacePrivateFile(s.encryptionFile(), added)
}
