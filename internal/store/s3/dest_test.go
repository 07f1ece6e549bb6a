package s3

import (
	"errors"
	"strings"
	"testing"

	"tinybackup/internal/store"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]dest{
		"s3://bucket":                                {bucket: "bucket"},
		"s3://bucket/":                               {bucket: "bucket"},
		"s3://bucket/a/b":                            {bucket: "bucket", prefix: "a/b"},
		"s3://bucket//a///b/":                        {bucket: "bucket", prefix: "a/b"},
		"s3://work@bucket/a":                         {profile: "work", bucket: "bucket", prefix: "a"},
		"s3://s3.example.org/bucket":                 {endpoint: "s3.example.org", bucket: "bucket"},
		"s3://S3.Example.org:9000/bucket/a":          {endpoint: "s3.example.org:9000", bucket: "bucket", prefix: "a"},
		"s3+http://localhost/bucket":                 {plain: true, endpoint: "localhost", bucket: "bucket"},
		"s3+http://nas:9000/bucket":                  {plain: true, endpoint: "nas:9000", bucket: "bucket"},
		"s3://[::1]:9000/bucket":                     {endpoint: "[::1]:9000", bucket: "bucket"},
		"s3://me@10.0.0.1/bucket/x?region=eu-1":      {profile: "me", endpoint: "10.0.0.1", bucket: "bucket", prefix: "x", region: "eu-1"},
		"s3://a@b@bucket":                            {profile: "a@b", bucket: "bucket"},
		"s3://s3.amazonaws.com/bucket.with.dots/ü x": {endpoint: "s3.amazonaws.com", bucket: "bucket.with.dots", prefix: "ü x"},
		"s3://bucket/a@b:c":                          {bucket: "bucket", prefix: "a@b:c"},
	} {
		got, err := parse(text)
		if err != nil || got != want {
			t.Errorf("%s: got %+v, %v; want %+v", text, got, err, want)
		}
		again, err := parse(got.String())
		if err != nil || again != got {
			t.Errorf("%s: its normal form %s is %+v, %v", text, got.String(), again, err)
		}
	}
}

func TestParseWrong(t *testing.T) {
	for text, want := range map[string]string{
		"":                               "does not begin with s3://",
		"s3:/bucket":                     "does not begin with s3://",
		"s3://":                          "names no bucket",
		"s3+http://127.0.0.1:7070/":      "names no bucket",
		"s3://@bucket":                   "no profile stands before the @",
		"s3://s3.example.org":            "names no bucket",
		"s3://s3.example.org/":           "names no bucket",
		"s3://b/x":                       "can't be the name of a bucket",
		"s3://buck et/x":                 "can't be the name of a bucket",
		"s3://host:port/bucket":          "is no host or host:port",
		"s3://host:99999/bucket":         "is no host or host:port",
		"s3://bucket/../x":               "can't be in the prefix",
		"s3://bucket/.tinybackup":        "can't be in the prefix",
		"s3://bucket/a\nb":               "no name should have",
		"s3://bucket/a\xff":              "no name should have",
		"s3://bucket?x=y":                "is not understood",
		"s3://bucket?region=a&b=c":       "is no region",
		"s3://ID:topsecret@bucket":       "keys do not belong",
		"s3://ID:topsecret@s3.x.y/b/c":   "keys do not belong",
		"s3://ID:top/secret@bucket":      "keys do not belong",
		"s3://ID:top/secret@s3.x.y/bu/x": "keys do not belong",
	} {
		err := Check(text)
		var e *store.Error
		if !errors.As(err, &e) || !strings.Contains(e.Error(), want) || strings.Contains(e.Error(), "\n") {
			t.Errorf("%q: got %v, want %q", text, err, want)
			continue
		}
		if all := e.Error() + e.Hint(); strings.Contains(all, "secret") {
			t.Errorf("%q: told again: %s", text, all)
		}
		// No name of a bucket has a port.
		if dotted := strings.Contains(e.Hint(), "A bucket with a dot"); dotted != strings.HasPrefix(text, "s3://s3.example.org") && strings.Contains(want, "no bucket") && strings.Contains(text, ".") {
			t.Errorf("%q: hint %q", text, e.Hint())
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"s3://me@host:9000/bucket/a/b?region=r", "s3+http://[::1]/b/../x", "s3://ID:secret@bucket", "s3://bucket"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := parse(text)
		if err != nil {
			return
		}
		again, err := parse(d.String())
		if err != nil || again != d {
			t.Errorf("%q: %+v; its normal form %q: %+v, %v", text, d, d.String(), again, err)
		}
	})
}

// Parts grow so that as many as there may be hold the largest object, and grow slowly, for
// they are held in memory.
func TestPartSizes(t *testing.T) {
	total := int64(0)
	for n := 1; n <= maxParts; n++ {
		size := sizeOf(n)
		if size < minPart || size > maxPart || size > partSize && size > total/500 {
			t.Fatalf("part %d, after %d bytes, has %d", n, total, size)
		}
		total += size
	}
	if total < 5<<40 {
		t.Errorf("%d parts are %d bytes", maxParts, total)
	}
}
