package sftp

import (
	"errors"
	"strings"
	"testing"

	"tinybackup/internal/store"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		dest string
		want address
		text string // if it is not dest
	}{
		{dest: "sftp://nas/srv/backup", want: address{host: "nas", dir: "/srv/backup"}},
		{dest: "sftp://nas/", want: address{host: "nas", dir: "/"}},
		{dest: "sftp://me@nas:2222/srv//x/../backup/", want: address{"me", "nas", "2222", "/srv/backup"}, text: "sftp://me@nas:2222/srv/backup"},
		{dest: "sftp://nas/~", want: address{host: "nas", dir: "."}},
		{dest: "sftp://nas/~/", want: address{host: "nas", dir: "."}, text: "sftp://nas/~"},
		{dest: "sftp://nas/~/b/c", want: address{host: "nas", dir: "b/c"}},
		{dest: "sftp://nas/~me/b", want: address{host: "nas", dir: "/~me/b"}},
		{dest: "sftp://nas/a b/50%/x?y#z", want: address{host: "nas", dir: "/a b/50%/x?y#z"}},
		{dest: "sftp://[fe80::1]/b", want: address{host: "fe80::1", dir: "/b"}},
		{dest: "sftp://u@[::1]:22/b", want: address{"u", "::1", "22", "/b"}},
		{dest: "sftp://me@corp@nas/b", want: address{user: "me@corp", host: "nas", dir: "/b"}},
	} {
		got, err := parse(c.dest)
		if err != nil || got != c.want {
			t.Errorf("%s: got %+v, %v; want %+v", c.dest, got, err, c.want)
		}
		if want := or(c.text, c.dest); got.String() != want {
			t.Errorf("%s: got %s, want %s", c.dest, got, want)
		}
	}
	if got := (address{host: "nas", dir: "."}).at("x/y"); got != "sftp://nas/~/x/y" {
		t.Errorf("below the home: got %s", got)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for dest, want := range map[string]string{
		"nas:/srv":                 "does not begin with sftp://",
		"sftp:/nas/srv":            "does not begin with sftp://",
		"sftp://":                  "no host",
		"sftp:///srv":              "no host",
		"sftp://nas":               "names no path",
		"sftp://nas:x/srv":         "no host or host:port",
		"sftp://nas:0/srv":         "no host or host:port",
		"sftp://nas:70000/srv":     "no host or host:port",
		"sftp://::1/srv":           "no host or host:port",
		"sftp://[nas]/srv":         "no host or host:port",
		"sftp://@nas/srv":          "no user",
		"sftp://-oProxyCommand=x/": "no name",
		"sftp://-v@nas/":           "no name",
		"sftp://n s/srv":           "no name",
		"sftp://$(id)/srv":         "no name",
		"sftp://nas/a\x00b":        "NUL",
		"sftp://me:geheim@nas/srv": "password",
	} {
		err := Check(dest)
		var e *store.Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), want) || e.Hint() == "" {
			t.Errorf("Check %q: got %v, want an error of %q with a hint", dest, err, want)
		}
		if err != nil && strings.Contains(err.Error()+e.Hint(), "geheim") {
			t.Errorf("Check %q tells the password: %v", dest, err)
		}
	}
}
