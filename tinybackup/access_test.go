package tinybackup

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"tinybackup/internal/store"
)

// The keys of a destination are printed nowhere, in whatever form somebody asks for them.
func TestS3KeysAreSecret(t *testing.T) {
	t.Parallel()
	o := Options{Source: "/src", Dest: "s3://bucket", Name: "x", Access: Access{S3Keys: "AKIA:geheim:token"}}
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	changed, err := changes(Job{Options: o}, Job{Options: Options{Source: "/src", Dest: "s3://bucket", Name: "x", Access: Access{S3Keys: "AKIA:geheim2"}}})
	if err != nil || len(changed) == 0 {
		t.Fatalf("changes: %q, %v", changed, err)
	}
	for _, said := range []string{string(text), fmt.Sprint(o), fmt.Sprintf("%+v %#v %q", o, o, o.S3Keys), strings.Join(changed, "\n")} {
		if strings.Contains(said, "geheim") || strings.Contains(said, "AKIA") {
			t.Errorf("a secret is in: %s", said)
		}
	}
	for _, bad := range []S3Keys{"AKIA", ":geheim", "AKIA:", "AKIA:  "} {
		_ = bad.UnmarshalFlag(string(bad))
		if err := (Access{S3Keys: bad}).check(); err == nil || strings.Contains(err.Error()+hintOf(err), "geheim") {
			t.Errorf("%q: got %v", string(bad), err)
		}
	}
}

// Who reads from a destination gives what lets one in, or the environment has it, or else
// a job with that destination; of a destination on this machine nobody asks.
func TestAccessTo(t *testing.T) {
	t.Parallel()
	b, _ := newRemoteBench(t)
	b.env.openRemote = func(context.Context, string, Access) (store.Driver, error) { t.Error("opened"); return nil, nil }
	job := installRemote(t, b)
	job.Options.S3Keys, job.Options.KnownHosts = "JOB:secret", "/job/hosts"
	if err := job.Write(b.env.Dirs); err != nil {
		t.Fatal(err)
	}
	set := map[string]string{}
	b.env.getenv = func(name string) string { return set[name] }
	want := func(from string, typed, want Access) {
		t.Helper()
		given := map[string]bool{}
		if typed.S3Keys != "" {
			given["s3-keys"] = true
		}
		if got, err := b.env.accessTo(from, typed, given); err != nil || got != want {
			t.Errorf("%s: got %+v, %v", from, got, err)
		}
	}
	own := Access{S3Keys: "JOB:secret", KnownHosts: "/job/hosts"}
	want(b.dst, Access{}, own)
	want(b.dst+"/", Access{}, own)
	want(b.dst+"/notes-20261121T023000Z.tar.zst", Access{}, own)
	want("sftp://nas/other", Access{}, Access{})
	set["TINYBACKUP_S3_KEYS"] = "ENV:secret"
	want(b.dst, Access{}, Access{S3Keys: "ENV:secret"})
	want(b.dst, Access{S3Keys: "TYPED:secret"}, Access{S3Keys: "TYPED:secret"})
	want("/mnt/stick", Access{}, Access{})
}
