package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"cdr.dev/slog/v3"
)

const (
	// certificateInterval is how often the files of a certificate are looked at.
	certificateInterval = time.Second
	// longestCertificate is how many bytes each of them may have.
	longestCertificate = 1 << 20
)

// certificate is what the gateway shows its clients. It is read again when its files change, for the connections that come then;
// those that are open go on. If the files are no certificate and its key, the one before stays, and the log says so once.
type certificate struct {
	files   tlsConfig
	logger  slog.Logger
	current atomic.Pointer[tls.Certificate]
	read    string // What the files held when they were looked at last, or why they could not be read.

	stop    context.CancelFunc
	watcher sync.WaitGroup
}

// watchCertificate reads a certificate and watches its files. The caller closes it.
func watchCertificate(files tlsConfig, logger slog.Logger) (*certificate, error) {
	c := &certificate{files: files, logger: logger}
	if err := c.look(); err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	c.stop = stop
	c.watcher.Go(func() { c.watch(ctx) })
	return c, nil
}

// config returns how the server speaks TLS.
func (c *certificate) config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current.Load(), nil },
	}
}

func (c *certificate) watch(ctx context.Context) {
	ticker := time.NewTicker(certificateInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		if err := c.look(); err != nil {
			c.logger.Error(ctx, "the new certificate cannot be used: the one before stays", slog.Error(err))
		}
	}
}

// look reads the files, and uses what they hold if that is new. It fails if that is no certificate and its key, once for
// everything that they hold.
func (c *certificate) look() error {
	cert, err := readCertificateFile(c.files.Cert)
	key, keyErr := readCertificateFile(c.files.Key)
	err = errors.Join(err, keyErr)
	read := string(cert) + "\x00" + string(key)
	if err != nil {
		read = "\x00\x00" + err.Error()
	}
	if read == c.read {
		return nil
	}
	before := c.read
	c.read = read
	if err != nil {
		return err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return fmt.Errorf("%s and %s: %w", c.files.Cert, c.files.Key, err)
	}
	c.current.Store(&pair)
	if before != "" {
		c.logger.Info(context.Background(), "a new certificate is used", slog.F("valid_until", pair.Leaf.NotAfter))
	}
	return nil
}

func readCertificateFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, longestCertificate+1))
	switch {
	case err != nil:
		return nil, err
	case len(text) > longestCertificate:
		return nil, fmt.Errorf("%s has more than %d bytes", path, longestCertificate)
	}
	return text, nil
}

func (c *certificate) close() {
	c.stop()
	c.watcher.Wait()
}
