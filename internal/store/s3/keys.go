package s3

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"
)

// metadataWait is how long the service that gives keys to machines of a cloud may take:
// elsewhere nobody answers at its address. One that the environment names may be far away.
const (
	metadataWait = time.Second
	namedWait    = 20 * time.Second
)

var (
	// errNoKeys says that there is nothing to sign requests with.
	errNoKeys = errors.New("no credentials for it were found")
	// errKeysLate says that there was something, and has to be fetched anew.
	errKeysLate = errors.New("the credentials have run out, and where they are from gives no new ones")
)

// Keys are what requests are signed with. Empty: those of the environment, of
// ~/.aws/credentials, or of the machine.
type Keys struct {
	ID     string // access key ID
	Secret string // secret access key
	Token  string // of a session; may be empty
}

// providers are the places where keys are looked for, in order.
func providers(keys Keys, profile string) []credentials.Provider {
	if keys.ID != "" || keys.Secret != "" {
		return []credentials.Provider{&credentials.Static{Value: credentials.Value{
			AccessKeyID: keys.ID, SecretAccessKey: keys.Secret, SessionToken: keys.Token, SignerType: credentials.SignatureV4,
		}}}
	}
	if profile != "" {
		return []credentials.Provider{&credentials.FileAWSCredentials{Profile: profile}}
	}
	list := []credentials.Provider{&credentials.EnvAWS{}, &credentials.FileAWSCredentials{}}
	if os.Getenv("AWS_EC2_METADATA_DISABLED") != "true" {
		list = append(list, &credentials.IAM{Client: &http.Client{Timeout: machineWait()}})
	}
	return list
}

// machineWait is how long whoever gives keys to this machine or container may take.
func machineWait() time.Duration {
	for _, name := range []string{"AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"} {
		if os.Getenv(name) != "" {
			return namedWait
		}
	}
	return metadataWait
}

// keyChain gives the keys of the first provider that has some. The library's own goes on
// without a signature when nobody has, and the service's answer then leads astray.
type keyChain struct {
	profile   string
	providers []credentials.Provider
	current   credentials.Provider
	last      atomic.Pointer[credentials.Value] // that were given
}

// RetrieveWithCredContext implements credentials.Provider.
func (c *keyChain) RetrieveWithCredContext(cc *credentials.CredContext) (credentials.Value, error) {
	for _, p := range c.providers {
		value, err := p.RetrieveWithCredContext(cc)
		if err == nil && value.AccessKeyID != "" && value.SecretAccessKey != "" {
			c.current = p
			c.last.Store(&value)
			return value, nil
		}
	}
	// Keys that are given for a time are fetched anew well before its end.
	switch last := c.last.Load(); {
	case last == nil || last.Expiration.IsZero():
	case time.Now().Before(last.Expiration):
		return *last, nil
	default:
		return credentials.Value{}, errKeysLate
	}
	if c.profile != "" {
		return credentials.Value{}, fmt.Errorf("%w: ~/.aws/credentials has no keys for the profile %q", errNoKeys, c.profile)
	}
	return credentials.Value{}, errNoKeys
}

// Retrieve implements credentials.Provider.
func (c *keyChain) Retrieve() (credentials.Value, error) { return c.RetrieveWithCredContext(nil) }

// IsExpired implements credentials.Provider.
func (c *keyChain) IsExpired() bool { return c.current == nil || c.current.IsExpired() }
