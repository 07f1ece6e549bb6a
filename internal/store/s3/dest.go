package s3

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/minio/minio-go/v7/pkg/s3utils"

	"tinybackup/internal/store"
)

const (
	scheme      = "s3://"
	schemePlain = "s3+http://" // without TLS
	amazon      = "s3.amazonaws.com"

	spelling = "want s3://[PROFILE@][ENDPOINT[:PORT]/]BUCKET[/PREFIX][?region=REGION]"
)

// dest is a destination, taken apart.
type dest struct {
	plain    bool   // no TLS
	profile  string // of ~/.aws/credentials; empty: whatever the environment says
	endpoint string // host, or host:port; empty: Amazon's
	bucket   string
	prefix   string // without "/" at either end; may be empty
	region   string // empty: asked of the service
}

// Is reports whether a destination is spelled as one of this package.
func Is(dest string) bool {
	return strings.HasPrefix(dest, scheme) || strings.HasPrefix(dest, schemePlain)
}

// Check says what is wrong with the spelling of a destination. It opens nothing.
func Check(dest string) error {
	_, err := parse(dest)
	return err
}

func parse(text string) (dest, error) {
	var d dest
	rest, ok := strings.CutPrefix(text, scheme)
	if !ok {
		if rest, ok = strings.CutPrefix(text, schemePlain); !ok {
			return d, wrong(text, "it does not begin with s3://", spelling)
		}
		d.plain = true
	}
	rest, query, _ := strings.Cut(rest, "?")
	first, path, _ := strings.Cut(rest, "/")
	if at := strings.LastIndexByte(first, '@'); at >= 0 {
		d.profile, first = first[:at], first[at+1:]
		if strings.Contains(d.profile, ":") {
			return d, keysInside(d.plain)
		}
		if d.profile == "" {
			return d, wrong(text, "no profile stands before the @", spelling)
		}
	}
	if strings.ContainsAny(first, ".:") || first == "localhost" {
		d.endpoint = strings.ToLower(first)
		first, path, _ = strings.Cut(path, "/")
	}
	d.bucket = first
	for part := range strings.SplitSeq(path, "/") {
		if part == "" {
			continue // as a file system has it
		}
		d.prefix = strings.TrimPrefix(d.prefix+"/"+part, "/")
	}
	if query != "" {
		if d.region, ok = strings.CutPrefix(query, "region="); !ok {
			return d, wrong(text, "what is after the ? is not understood", "write ?region=REGION, or nothing")
		}
	}
	return d, d.check(text)
}

func (d *dest) check(text string) error {
	switch {
	case d.endpoint != "" && !validHost(d.endpoint) && strings.Contains(text, "@"):
		return keysInside(d.plain) // a secret may hold any character
	case d.endpoint != "" && !validHost(d.endpoint):
		return wrong(text, fmt.Sprintf("%q is no host or host:port", d.endpoint), spelling)
	case d.bucket == "" && d.endpoint != "" && !strings.Contains(d.endpoint, ":"):
		return wrong(text, "it names no bucket", fmt.Sprintf("%s. A bucket with a dot in its name is written after its endpoint: %s%s/%s",
			spelling, scheme, amazon, d.endpoint))
	case d.bucket == "":
		return wrong(text, "it names no bucket", spelling)
	case s3utils.CheckValidBucketName(d.bucket) != nil:
		return wrong(text, fmt.Sprintf("%q can't be the name of a bucket", d.bucket), "buckets have 3 to 63 letters, digits, dots and hyphens")
	case !utf8.ValidString(d.prefix) || strings.ContainsFunc(d.prefix, unicode.IsControl):
		return wrong(text, "the prefix has bytes that no name should have", "")
	case strings.ContainsFunc(d.region, func(r rune) bool { return r != '-' && !unicode.IsLetter(r) && !unicode.IsDigit(r) }):
		return wrong(text, fmt.Sprintf("%q is no region", d.region), "regions look like eu-central-1")
	}
	for part := range strings.SplitSeq(d.prefix, "/") {
		if part == "." || part == ".." || part == store.SideDir {
			return wrong(text, fmt.Sprintf("%q can't be in the prefix", part), "")
		}
	}
	return nil
}

// validHost is for what comes before the path of a URL: a name or address, perhaps a port.
func validHost(host string) bool {
	u, err := url.Parse("http://" + host + "/")
	if err != nil || u.Host != host || u.Hostname() == "" {
		return false
	}
	if _, port, err := net.SplitHostPort(host); err == nil {
		n, err := strconv.Atoi(port)
		return err == nil && 0 < n && n < 1<<16
	}
	return !strings.ContainsAny(host, " \t\"'`\\")
}

// keysInside is the error of a destination that seems to hold keys: it repeats nothing.
func keysInside(plain bool) error {
	return wrong(schemePlainOr(plain)+"…@…", "keys do not belong in a destination, where everybody can read them",
		"put them into ~/.aws/credentials under a profile, and write s3://PROFILE@…")
}

func schemePlainOr(plain bool) string {
	if plain {
		return schemePlain
	}
	return scheme
}

func wrong(text, what, hint string) error {
	return &store.Error{Op: "use", Path: text, Err: errors.New(what), Advice: hint}
}

// String is the destination in its one normal form.
func (d *dest) String() string {
	s := d.address("")
	if d.region != "" {
		s += "?region=" + d.region
	}
	return s
}

// address is that of what has the key, or of the destination itself.
func (d *dest) address(key string) string {
	s := schemePlainOr(d.plain)
	if d.profile != "" {
		s += d.profile + "@"
	}
	if d.endpoint != "" {
		s += d.endpoint + "/"
	}
	s += d.bucket
	for _, part := range []string{d.prefix, key} {
		if part != "" {
			s += "/" + part
		}
	}
	return s
}

// object is the name in the bucket of what has the key.
func (d *dest) object(key string) string {
	if d.prefix == "" {
		return key
	}
	return d.prefix + "/" + key
}
