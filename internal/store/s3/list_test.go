package s3_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tinybackup/internal/store/s3/s3test"
	"tinybackup/internal/store/storetest"
)

// Ten thousand archives of fifty hosts cost as many requests as pages of a thousand.
func TestManyArchives(t *testing.T) {
	t.Parallel()
	hosts, each := 50, 20
	if torture {
		each = 200
	}
	server := s3test.Start(t)
	var want []string
	for h := range hosts {
		dir := filepath.Join("fleet", fmt.Sprintf("host%02d", h), "notes")
		want = append(want, strings.TrimPrefix(dir, "fleet/"))
		side := server.Files(filepath.Join(dir, ".tinybackup"))
		must(t, os.MkdirAll(side, 0o755))
		for a := range each {
			name := fmt.Sprintf("notes-202611%02dT%06dZ.tar.zst", 1+a%28, a)
			must(t, os.WriteFile(server.Files(filepath.Join(dir, name)), []byte("an archive"), 0o644))
			must(t, os.WriteFile(filepath.Join(side, name+".manifest"), []byte("a manifest"), 0o644))
		}
		must(t, os.WriteFile(filepath.Join(side, "notes.status"), []byte("{}"), 0o644))
	}
	objects := 2*hosts*each + hosts
	proxy := server.Proxy(t)
	d := open(t, server, proxy.Dest("fleet")+"?region=us-east-1")

	found, err := d.Find(t.Context(), ".status")
	must(t, err)
	var got []string
	for _, f := range found {
		got = append(got, f.Below)
		if len(f.Sides) != 1 || f.Sides[0].Name != "notes.status" || f.Sides[0].Size != 2 {
			t.Errorf("%s: %+v", f.Below, f.Sides)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("found %q", got)
	}
	if n, most := proxy.Count().Requests, objects/1000+2; n > most {
		t.Errorf("Find among %d objects: %d requests, want %d", objects, n, most)
	}

	proxy.Break(nil)
	host := d.At("host07/notes")
	list, err := host.List(t.Context(), "")
	if err != nil || len(list) != each {
		t.Errorf("listed %d archives, %v; want %d", len(list), err, each)
	}
	if n := proxy.Count().Requests; n > 1 {
		t.Errorf("List of one host: %d requests", n)
	}
	must(t, host.Remove(t.Context(), list[0].Name))
	if n := proxy.Count().Requests; n > 3 {
		t.Errorf("List and Remove: %d requests", n)
	}
}

// Names come back as they were given.
func TestOddNames(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	d := open(t, server, server.Dest("a b/ü+%20"))
	names := []string{"a b", "a+b", "a%2Bb", "ü", "?x=1&y", "#", "a\\b", "'\"", "new\nline", "...", "日本", "~", "[*]", "<&>"}
	for _, name := range names {
		must(t, makeOf(t, d, name, nil, piece{literal: []byte(name)}))
		wantBytes(t, d, name, []byte(name))
	}
	objects, err := d.List(t.Context(), "")
	must(t, err)
	var got []string
	for _, o := range objects {
		got = append(got, o.Name)
	}
	slices.Sort(got)
	slices.Sort(names)
	if !slices.Equal(got, names) {
		t.Errorf("got %q\nwant %q", got, names)
	}
	for _, name := range names {
		must(t, d.Remove(t.Context(), name))
	}
	const odd = "a+%2B ü?#&\\"
	data := storetest.Random(1, 6*mib)
	must(t, makeOf(t, d, odd, nil, piece{literal: data}))
	must(t, makeOf(t, d, odd+"2", openArchive(t, d, odd), piece{n: 6 * mib}))
	wantBytes(t, d, odd+"2", data)
	killed, err := d.Create(t.Context(), odd+"3")
	must(t, err)
	_, err = killed.Write(storetest.Random(1, 9*mib))
	must(t, err)
	if keys, err := d.Unfinished(t.Context()); err != nil || !slices.Equal(keys, []string{odd + "3"}) {
		t.Errorf("unfinished: got %q, %v", keys, err)
	}
	must(t, killed.Close())
	wantNothingUnfinished(t, d)
	if _, err := d.Create(t.Context(), "\xff"); err == nil || !strings.Contains(err.Error(), "UTF-8") {
		t.Errorf("a name that is not UTF-8: %v", err)
	}
}

// Uploads that are not listed, or always the same, keep no run from its work.
func TestUploadsNotListed(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	proxy := server.Proxy(t)
	d := open(t, server, proxy.Dest("x")+"?region=us-east-1")
	uploads := func(r *http.Request) bool { return r.Method == http.MethodGet && r.URL.Query().Has("uploads") }
	proxy.Break(func(_ int, r *http.Request) *s3test.Fault {
		if uploads(r) {
			return &s3test.Fault{Code: "NotImplemented", Status: http.StatusNotImplemented}
		}
		return nil
	})
	if keys, err := d.Unfinished(t.Context()); err != nil || len(keys) > 0 {
		t.Errorf("not listed: got %q, %v", keys, err)
	}
	proxy.Break(func(_ int, r *http.Request) *s3test.Fault {
		if uploads(r) {
			return &s3test.Fault{Body: "<ListMultipartUploadsResult><IsTruncated>true</IsTruncated><NextKeyMarker>x/a</NextKeyMarker>" +
				"<NextUploadIdMarker>1</NextUploadIdMarker><Upload><Key>x/a</Key><UploadId>1</UploadId></Upload></ListMultipartUploadsResult>"}
		}
		return nil
	})
	if keys, err := d.Unfinished(t.Context()); err != nil || !slices.Equal(keys, []string{"a"}) {
		t.Errorf("always the same: got %q, %v", keys, err)
	}
	if n := proxy.Count().Requests; n > 2 {
		t.Errorf("it was asked %d times", n)
	}
}
