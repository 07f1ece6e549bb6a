package s3

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"
)

// Keys are looked for where other programs look, in their order.
func TestKeys(t *testing.T) {
	home := t.TempDir()
	file := filepath.Join(home, "credentials")
	err := os.WriteFile(file, []byte("[default]\naws_access_key_id = file\naws_secret_access_key = fs\n"+
		"[work]\naws_access_key_id = work\naws_secret_access_key = ws\naws_session_token = wt\n"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		env     []string // name and value in turn
		keys    Keys
		profile string
		want    string
	}{
		{"given", []string{"AWS_ACCESS_KEY_ID", "env", "AWS_SECRET_ACCESS_KEY", "es"}, Keys{ID: "id", Secret: "s"}, "work", "id s "},
		{"environment", []string{"AWS_ACCESS_KEY_ID", "env", "AWS_SECRET_ACCESS_KEY", "es", "AWS_SESSION_TOKEN", "et"}, Keys{}, "", "env es et"},
		{"profile before environment", []string{"AWS_ACCESS_KEY_ID", "env", "AWS_SECRET_ACCESS_KEY", "es"}, Keys{}, "work", "work ws wt"},
		{"file", nil, Keys{}, "", "file fs "},
		{"AWS_PROFILE", []string{"AWS_PROFILE", "work"}, Keys{}, "", "work ws wt"},
		{"no such profile", nil, Keys{}, "none", ""},
		{"no file", []string{"AWS_SHARED_CREDENTIALS_FILE", filepath.Join(home, "none")}, Keys{}, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY", "AWS_SECRET_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"} {
				t.Setenv(name, "")
			}
			t.Setenv("HOME", home)
			t.Setenv("AWS_CONFIG_FILE", filepath.Join(home, "config"))
			t.Setenv("AWS_SHARED_CREDENTIALS_FILE", file)
			t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
			for i := 0; i < len(c.env); i += 2 {
				t.Setenv(c.env[i], c.env[i+1])
			}
			chain := &keyChain{profile: c.profile, providers: providers(c.keys, c.profile)}
			v, err := chain.Retrieve()
			if c.want == "" {
				if !errors.Is(err, errNoKeys) {
					t.Errorf("got %v, want that there are none", err)
				}
				return
			}
			if got := v.AccessKeyID + " " + v.SecretAccessKey + " " + v.SessionToken; err != nil || got != c.want {
				t.Errorf("got %q, %v; want %q", got, err, c.want)
			}
		})
	}
}

// lender is a provider of keys that are good for a while, when it answers.
type lender struct {
	value credentials.Value
	err   error
}

func (l *lender) RetrieveWithCredContext(*credentials.CredContext) (credentials.Value, error) {
	return l.value, l.err
}
func (l *lender) Retrieve() (credentials.Value, error) { return l.value, l.err }
func (l *lender) IsExpired() bool                      { return true }

// Keys that could not be fetched anew serve as long as they are good; then it is tried again.
func TestKeysFetchedAnew(t *testing.T) {
	for left, want := range map[time.Duration]error{time.Hour: nil, -time.Hour: errKeysLate} {
		l := &lender{value: credentials.Value{AccessKeyID: "id", SecretAccessKey: "secret", Expiration: time.Now().Add(left)}}
		keys := credentials.New(&keyChain{providers: []credentials.Provider{l}})
		if _, err := keys.GetWithContext(nil); err != nil {
			t.Fatal(err)
		}
		l.value, l.err = credentials.Value{}, errors.New("no answer within a second")
		v, err := keys.GetWithContext(nil)
		if !errors.Is(err, want) || want == nil && v.AccessKeyID != "id" {
			t.Errorf("good for %v: got %q, %v", left, v.AccessKeyID, err)
		}
		if err != nil && !passes(err) {
			t.Errorf("it is not tried again: %v", err)
		}
	}
}

// Who is asked for keys blindly has less time than who is named.
func TestMachineWait(t *testing.T) {
	for _, name := range []string{"AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"} {
		t.Setenv(name, "")
	}
	if got := machineWait(); got != metadataWait {
		t.Errorf("got %v", got)
	}
	t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "/var/run/secrets/token")
	if got := machineWait(); got != namedWait {
		t.Errorf("named: got %v", got)
	}
}
