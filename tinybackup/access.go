package tinybackup

import "strings"

// Access is what lets us into a destination on another machine. What is empty is found
// where other programs for such services find it.
type Access struct {
	// S3Keys are for s3:// destinations. Empty: those of the environment variables, the
	// files or the machine that S3 programs go by.
	S3Keys S3Keys `long:"s3-keys" secret:"yes" value-name:"ID:SECRET[:TOKEN]" description:"keys of an s3:// destination (default: those of AWS programs)"`
	// SSHIdentity is the file of the private key for sftp:// destinations. Empty: what
	// the agent and ssh_config(5) have.
	SSHIdentity string `long:"ssh-identity" value-name:"FILE" description:"private key for an sftp:// destination (default: as ssh)"`
	// KnownHosts is the file of the keys of servers that sftp:// goes to. Empty: those of
	// ssh(1).
	KnownHosts string `long:"known-hosts" value-name:"FILE" description:"keys of sftp:// servers (default: those of ssh)"`
}

// S3Keys are ID:SECRET or ID:SECRET:TOKEN. All of it is a secret: printed, it is
// nothing. Only MarshalFlag, for a job's file, has the keys themselves.
type S3Keys string

// hidden stands for a secret.
const hidden = "(hidden)"

// UnmarshalFlag reads keys from the command line or a job's file. Whether they are some
// is checked with the other options.
func (k *S3Keys) UnmarshalFlag(text string) error {
	*k = S3Keys(strings.TrimSpace(text))
	return nil
}

// MarshalFlag is the keys themselves.
func (k S3Keys) MarshalFlag() (string, error) { return string(k), nil }

// String is a word for the keys.
func (k S3Keys) String() string {
	if k == "" {
		return ""
	}
	return hidden
}

// GoString is String: %#v tells no more than %v.
func (k S3Keys) GoString() string { return k.String() }

// MarshalText is String: a program that prints its options as JSON tells nothing.
func (k S3Keys) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// parts are the keys one by one; without a token, that is empty.
func (k S3Keys) parts() (id, secret, token string) {
	parts := append(strings.SplitN(string(k), ":", 3), "", "")
	return parts[0], parts[1], parts[2]
}

// check refuses what cannot let anybody in.
func (a Access) check() error {
	if id, secret, _ := a.S3Keys.parts(); a.S3Keys != "" && (id == "" || secret == "") {
		return &UsageError{Msg: "--s3-keys: not of the form ID:SECRET", Hint: "give ID:SECRET, or ID:SECRET:TOKEN, in a job's file or in " + variable("s3-keys")}
	}
	if strings.ContainsRune(a.SSHIdentity+a.KnownHosts, 0) {
		return &UsageError{Msg: "a path contains a NUL character"}
	}
	return nil
}

// resolve makes the paths absolute.
func (a *Access) resolve() (err error) {
	for _, path := range []*string{&a.SSHIdentity, &a.KnownHosts} {
		if *path, err = resolvePath(*path); err != nil {
			return err
		}
	}
	return nil
}

// relative is a path of a file that is not absolute, and its key; empty: there is none.
func (a Access) relative() (key, path string) {
	for _, p := range []struct{ key, path string }{{"ssh-identity", a.SSHIdentity}, {"known-hosts", a.KnownHosts}} {
		if p.path != "" && !strings.HasPrefix(p.path, "/") {
			return p.key, p.path
		}
	}
	return "", ""
}

// accessTo completes what was typed after a command that reads from: from the
// environment, from the shared file, and from a job that has the same destination.
func (e Env) accessTo(from string, typed Access, given map[string]bool) (Access, error) {
	if !isRemote(from) {
		return typed, nil
	}
	o, _, err := e.layered(Options{Access: typed}, given)
	if err != nil {
		return typed, err
	}
	access := o.Access
	if access == (Access{}) {
		access = e.jobAccess(trimRemote(from))
	}
	if err := access.check(); err != nil {
		return access, err
	}
	return access, access.resolve()
}

// jobAccess is the access of a job to a destination, or to one that an archive is in; or
// else to one below it. Of jobs that cannot be read there is none.
func (e Env) jobAccess(from string) Access {
	jobs, _, err := Jobs(e.Dirs)
	if err != nil {
		return Access{}
	}
	dir, _ := splitDest(from)
	var below Access
	for _, j := range jobs {
		for _, dest := range j.Options.dests() {
			if dest == from || dest == dir {
				return j.Options.Access
			}
			if below == (Access{}) && strings.HasPrefix(dest, strings.TrimSuffix(from, "/")+"/") {
				below = j.Options.Access
			}
		}
	}
	return below
}
