package tinybackup

import "testing"

// What is spelled like a destination on another machine is taken apart and put
// together as one.
func TestDestSpelling(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ dest, trimmed, joined string }{
		{"s3://bucket", "s3://bucket", "s3://bucket/N"},
		{"s3://bucket/a/b/", "s3://bucket/a/b", "s3://bucket/a/b/N"},
		{"s3://host:9000/bucket/?region=r", "s3://host:9000/bucket?region=r", "s3://host:9000/bucket/N?region=r"},
		{"s3+http://localhost/b/p", "s3+http://localhost/b/p", "s3+http://localhost/b/p/N"},
		{"sftp://u@host:22/x//", "sftp://u@host:22/x", "sftp://u@host:22/x/N"},
		{"sftp://host/", "sftp://host/", "sftp://host/N"},
		{"sftp://host/~/x?y", "sftp://host/~/x?y", "sftp://host/~/x?y/N"},
		{"rclone:r:", "rclone:r:", "rclone:r:N"},
		{"rclone:r:a/b/", "rclone:r:a/b", "rclone:r:a/b/N"},
	} {
		if got := trimRemote(c.dest); got != c.trimmed || !isRemote(c.dest) {
			t.Errorf("%s is trimmed to %s, want %s", c.dest, got, c.trimmed)
		}
		if got := joinDest(c.trimmed, "N"); got != c.joined {
			t.Errorf("%s and N are %s, want %s", c.trimmed, got, c.joined)
		}
		if dest, name := splitDest(c.joined); dest != c.trimmed || name != "N" {
			t.Errorf("%s is split into %s and %s", c.joined, dest, name)
		}
	}
	for _, local := range []string{"/srv/backup", "./s3://x", "backup", "C:/x"} {
		if isRemote(local) {
			t.Errorf("%q is no path", local)
		}
	}
}
