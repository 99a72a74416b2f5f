package bedrock

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/coder/aibridged/internal/upstream"
)

const (
	// mostFetch is how long it may take to get credentials.
	mostFetch = 30 * time.Second
	// sessionName is under which name AWS's logs have what is done as an assumed role.
	sessionName = "aibridged"
)

// source is where AWS credentials come from.
type source struct {
	*aws.CredentialsCache

	network *upstream.Transport // To STS; nil: no role is assumed.
}

// source returns where the credentials come from, or nil if there are none.
func (c Credentials) source(region string) (*source, error) {
	var from aws.CredentialsProvider
	switch {
	case c.Default:
		found, err := config.LoadDefaultConfig(context.Background(), config.WithRegion(region))
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrDefaultChain, err)
		}
		from = found.Credentials
	case c.AccessKeyID != "":
		from = credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, c.SessionToken)
	default:
		return nil, nil
	}
	s := &source{}
	if c.RoleARN != "" {
		// It is no transport of the provider's: those may copy what passes to files, and here the credentials pass.
		s.network = upstream.NewTransport(upstream.Limits{ResponseHeader: mostFetch})
		options := sts.Options{Region: region, Credentials: aws.NewCredentialsCache(from), HTTPClient: &http.Client{Transport: s.network}}
		if c.STSURL != "" {
			options.BaseEndpoint = aws.String(c.STSURL)
		}
		from = stscreds.NewAssumeRoleProvider(sts.New(options), c.RoleARN, func(role *stscreds.AssumeRoleOptions) {
			role.RoleSessionName = sessionName
			if c.ExternalID != "" {
				role.ExternalID = aws.String(c.ExternalID)
			}
		})
	}
	s.CredentialsCache = aws.NewCredentialsCache(from, func(o *aws.CredentialsCacheOptions) {
		o.ExpiryWindow = time.Minute // Credentials must not expire on the way.
	})
	return s, nil
}
