package s3

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
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
