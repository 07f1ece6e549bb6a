package tinybackup

import (
	"context"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"strings"

	"tinybackup/internal/rotate"
	"tinybackup/internal/store"
	"tinybackup/internal/store/rclone"
	"tinybackup/internal/store/s3"
	"tinybackup/internal/store/sftp"
)

// This file alone knows the kinds of destinations by how they are spelled: a path of
// this machine, or one of remoteKinds.

// A remoteKind is a kind of destination on another machine.
type remoteKind struct {
	prefix string // what its spelling begins with
	hint   string // how it is spelled
	root   string // what stands for its top, if all of the path is cut off: it needs a slash
	check  func(dest string) error
	open   func(ctx context.Context, dest string, access Access) (store.Driver, error)
}

// remoteKinds are all of them.
var remoteKinds = []remoteKind{
	{prefix: "s3://", hint: "s3://ENDPOINT/BUCKET/PREFIX", check: s3.Check, open: openS3},
	{prefix: "s3+http://", hint: "s3+http://ENDPOINT/BUCKET/PREFIX", check: s3.Check, open: openS3},
	{prefix: "sftp://", hint: "sftp://USER@HOST/PATH", root: "/", check: sftp.Check, open: openSFTP},
	{prefix: "rclone:", hint: "rclone:REMOTE:PATH", check: rclone.Check, open: openRclone},
}

// destHint is how destinations are spelled.
const destHint = "an existing directory, s3://ENDPOINT/BUCKET/PREFIX, sftp://USER@HOST/PATH or rclone:REMOTE:PATH"

// remoteKindOf is the kind of a destination; nil: it is a path of this machine.
func remoteKindOf(dest string) *remoteKind {
	for i, k := range remoteKinds {
		if strings.HasPrefix(dest, k.prefix) {
			return &remoteKinds[i]
		}
	}
	return nil
}

// isLocal says whether a store is a directory of this machine.
func isLocal(st store.Store) bool {
	_, local := st.(*store.Local)
	return local
}

// isRemote says whether a destination is on another machine.
func isRemote(dest string) bool { return remoteKindOf(dest) != nil }

// checkRemote refuses a destination on another machine that is not spelled as it has
// to be. It opens nothing.
func checkRemote(dest string) error {
	kind := remoteKindOf(dest)
	if kind.check == nil {
		return nil
	}
	if err := kind.check(dest); err != nil {
		hint := hintOf(err)
		if hint == "" {
			hint = "it is spelled " + kind.hint
		}
		if e, ok := errors.AsType[*store.Error](err); ok {
			dest, err = e.Path, e.Err // without a secret that was put there
		}
		return &UsageError{Msg: fmt.Sprintf("destination %q: %v", dest, err), Hint: hint}
	}
	return nil
}

// openStore opens a destination, which must be resolved. The caller closes it.
func openStore(ctx context.Context, env Env, dest string, access Access) (store.Store, error) {
	kind := remoteKindOf(dest)
	if kind == nil {
		return store.OpenLocal(dest)
	}
	if err := checkRemote(dest); err != nil {
		return nil, err
	}
	open := kind.open
	if env.openRemote != nil {
		open = env.openRemote
	}
	if open == nil {
		return nil, &UsageError{Msg: fmt.Sprintf("destination %q cannot be reached by this program", dest), Hint: "give an existing directory, such as a mounted disk"}
	}
	driver, err := open(ctx, dest, access)
	if err != nil {
		return nil, err
	}
	return store.NewRemote(driver), nil
}

func openS3(ctx context.Context, dest string, access Access) (store.Driver, error) {
	id, secret, token := access.S3Keys.parts()
	return s3.Open(ctx, dest, s3.Options{Keys: s3.Keys{ID: id, Secret: secret, Token: token}})
}

func openSFTP(ctx context.Context, dest string, access Access) (store.Driver, error) {
	return sftp.Open(ctx, dest, sftp.Options{Identity: access.SSHIdentity, KnownHosts: access.KnownHosts})
}

func openRclone(ctx context.Context, dest string, _ Access) (store.Driver, error) {
	return rclone.Open(ctx, dest, rclone.Options{})
}

// trimRemote is a destination on another machine without slashes at its end, which
// mean nothing: so that one place has one spelling.
func trimRemote(dest string) string {
	kind := remoteKindOf(dest)
	head, query := cutQuery(dest)
	rest := strings.TrimRight(head[len(kind.prefix):], "/")
	if kind.root != "" && rest != "" && !strings.Contains(rest, "/") {
		rest += kind.root
	}
	return kind.prefix + rest + query
}

// cutQuery cuts off what follows the path of s3://BUCKET/PREFIX?region=R.
func cutQuery(dest string) (head, query string) {
	if strings.HasPrefix(dest, "s3") {
		if i := strings.IndexByte(dest, '?'); i >= 0 {
			return dest[:i], dest[i:]
		}
	}
	return dest, ""
}

// joinDest is where something called name is in a destination, for a person to read
// and to type.
func joinDest(dest, name string) string {
	if !isRemote(dest) {
		return filepath.Join(dest, name)
	}
	head, query := cutQuery(dest)
	if !strings.HasSuffix(head, "/") && !strings.HasSuffix(head, ":") {
		head += "/"
	}
	return head + name + query
}

// splitDest is the inverse of joinDest. Of a place on another machine that has nothing
// above it, name is empty.
func splitDest(at string) (dest, name string) {
	kind := remoteKindOf(at)
	if kind == nil {
		return filepath.Dir(at), filepath.Base(at)
	}
	head, query := cutQuery(at)
	head = head[len(kind.prefix):]
	i := strings.LastIndexAny(head, "/:")
	if i <= 0 || kind.prefix != "rclone:" && head[i] == ':' || i == len(head)-1 {
		return at, ""
	}
	dir := strings.TrimSuffix(head[:i+1], "/")
	return trimRemote(kind.prefix + dir + query), head[i+1:]
}

// namesArchive says whether the last part of a place on another machine is the name of
// an archive of ours.
func namesArchive(at string) bool {
	_, name := splitDest(at)
	_, ours := rotate.ParseName(path.Base(name))
	return ours
}

// reachHint is what to do about a destination that cannot be asked.
func reachHint(dest string) string {
	if isRemote(dest) {
		return "check the network, the server and the credentials: tinybackup list " + shellQuote(dest)
	}
	return "see whether its disk or its server is well, such as with: df " + shellQuote(dest)
}
