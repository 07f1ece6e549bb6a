package sftp

import (
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestSettings has ssh(1) read the same files, and agree.
func TestSettings(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("ssh"); err != nil {
		t.Skip("ssh is not installed")
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	for i, config := range []string{
		"",
		"Host nas\n\tHostName nas.example\n\tPort 2222\n\tUser anna\n",
		"hostname=%h.example\nPORT = 23\nuser =anna # hers\n",
		"Host other nas*\nUser a\nHost *\nUser b\nPort 3\n",
		"Host !nas *\nUser a\nHost * !nas\nPort 4\nHost n?s\nPort 5\n",
		"Host\tother\tnas\n\tUser\ta\n",
		"Host \"nas\" 'x y'\nUser \"a\"\nIdentityFile \"/keys/a b\"\nIdentityFile /keys/c\\ d\n",
		"IdentityFile /keys/a\nIdentityFile /keys/b\nIdentityFile /keys/a\nHost nas\nIdentityFile /keys/%r\n",
		"Match host nas exec false\nPort 6\nMatch all\nUser a\n",
		"Match host nas user " + me.Username + "\nPort 6\n",
		"Match host nas user nobody-of-ours\nPort 6\n",
		"Match host other,nas user *,!x\nPort 6\n",
		"Match !host nas\nPort 6\nMatch host *,!nas\nPort 7\nMatch !host other\nUser a\n",
		"Host nas\nHostName nas.example\nMatch host *.example\nPort 6\nMatch originalhost nas\nUser a\nMatch host nas\nUser b\n",
		"User a\nMatch user a\nPort 6\nMatch localuser " + me.Username + " originalhost nas\nHostKeyAlias x\n",
		"Match final all\nUser a\nPort 6\nMatch all\nPort 7\n",
		"Match final host nas.example\nPort 6\nHost nas\nHostName nas.example\nIdentityFile /keys/a\n",
		"Match canonical\nPort 6\nMatch !final\nUser a\n",
		"ProxyJump a,b@c:2\nProxyCommand nc %h %p\n",
		"ProxyCommand none\nProxyJump a\n",
		"ProxyJump none\nHost nas\nProxyJump a\n",
		"Include DIR/more*\nHost nas\nPort 9\n",
		"Host other\nInclude DIR/more*\nHost nas\nPort 9\n",
		"Host nas\nInclude DIR/host DIR/none\nPort 9\n",
		"HostName nas.example\nIdentitiesOnly yes\nSendEnv LANG LC_*\nCiphers aes256-ctr\nIgnoreUnknown X*\nXUnknown a b c\n",
	} {
		home := t.TempDir()
		dir := filepath.Join(home, ".ssh")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{
			"config": strings.ReplaceAll(config, "DIR", dir),
			"more1":  "Host nas\nUser a\nMatch final all\nPort 8\n", "more2": "User b\n",
			"host": "Host other\nUser a\nHost nas\nUser b\n",
		} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		out, err := exec.Command("ssh", "-G", "-F", filepath.Join(dir, "config"), "nas").Output()
		if err != nil {
			t.Fatalf("%d: ssh -G: %v", i, err)
		}
		want := map[string][]string{}
		for line := range strings.Lines(string(out)) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
			want[key] = append(want[key], value)
		}
		s, err := readSettings(address{host: "nas"}, me.Username, home)
		if err != nil {
			t.Errorf("%d: %v", i, err)
			continue
		}
		none := func(v string) string {
			if v == "none" {
				return ""
			}
			return v
		}
		for _, c := range [][3]string{
			{"hostname", s.hostName(), strings.Join(want["hostname"], "")},
			{"port", or(s.first("port"), "22"), strings.Join(want["port"], "")},
			{"user", or(s.first("user"), me.Username), strings.Join(want["user"], "")},
			{"hostkeyalias", s.first("hostkeyalias"), strings.Join(want["hostkeyalias"], "")},
			{"identitiesonly", or(s.first("identitiesonly"), "no"), strings.Join(want["identitiesonly"], "")},
			{"proxyjump", none(s.first("proxyjump")), strings.Join(want["proxyjump"], "")},
			{"proxycommand", none(s.first("proxycommand")), none(strings.Fields(strings.Join(want["proxycommand"], "") + " none")[0])},
		} {
			if c[1] != c[2] {
				t.Errorf("%q: %s: got %q, ssh has %q", config, c[0], c[1], c[2])
			}
		}
		if got := s.said["identityfile"]; got != nil && !slices.Equal(got, want["identityfile"]) {
			t.Errorf("%q: identityfile: got %q, ssh has %q", config, got, want["identityfile"])
		}
	}
}

// TestIncludes has files that include themselves, what is no file, and what is not there.
func TestIncludes(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	dir := filepath.Join(home, ".ssh")
	if err := os.MkdirAll(filepath.Join(dir, "config.d", "dir"), 0o700); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("config", "Include config.d/* ~/.ssh/tilde nowhere\n")
	write("config.d/a", "Host nas\nPort 7\n")
	write("tilde", "User anna\n")
	s, err := readSettings(address{host: "nas"}, "me", home)
	if err != nil || s.first("port") != "7" || s.first("user") != "anna" {
		t.Errorf("got %+v, %v", s, err)
	}
	write("tilde", "Include tilde\n")
	if _, err = readSettings(address{host: "nas"}, "me", home); err == nil {
		t.Error("a file that includes itself: got no error")
	}
}

// TestExpand has the tokens and variables of a file's name.
func TestExpand(t *testing.T) {
	t.Parallel()
	opt := Options{Home: "/home/a%h", Env: func(name string) string { return "<" + name + ">" }}
	tokens := map[byte]string{'%': "%", 'd': opt.Home, 'h': "nas"}
	for name, want := range map[string]string{
		"/x": "/x", "~/x": "/home/a%h/x", "%d/%h%%h%": "/home/a%h/nas%h%", "%Zx": "%Zx", "${A}/$B${": "<A>/$B${",
	} {
		if got := expandPath(opt, name, tokens); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}

// TestWay has jumps that have jumps, and some in a circle.
func TestWay(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	if err := os.Mkdir(filepath.Join(home, ".ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	opt := Options{Home: home, Identity: "/theirs"}.filled()
	for config, want := range map[string]string{
		"": "nas",
		"Host nas\nProxyJump b\nHost b\nProxyJump a\n":                          "a b nas",
		"Host nas\nProxyJump b,c@c:1\nHost b\nProxyJump a\nHost c\nProxyJump x": "a b c nas",
		"ProxyJump a\n": "lead through more than",
		"Host nas\nProxyJump a\nHost a\nProxyCommand nc\n": "ProxyCommand",
	} {
		if err := os.WriteFile(filepath.Join(home, ".ssh", "config"), []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		end, err := resolve(opt, address{host: "nas"})
		var way []target
		if err == nil {
			way, err = end.path(opt)
		}
		var names []string
		for i, hop := range way {
			names = append(names, hop.name)
			if last := i == len(way)-1; hop.identities[0] != "/theirs" || (len(hop.identities) > 1) == last {
				t.Errorf("%q: %s: got the keys %q", config, hop.name, hop.identities)
			}
		}
		got := strings.Join(names, " ")
		if err != nil {
			got = err.Error()
		}
		if got != want && (err == nil || !strings.Contains(got, want)) {
			t.Errorf("%q: got %q, want %q", config, got, want)
		}
	}
}
