//go:build ignore

// Generate writes zones.tar.gz: the time zones that come with Go.
package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"cmp"
	"compress/gzip"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

type zone struct {
	name string
	data []byte
}

func main() {
	if err := generate("zones.tar.gz"); err != nil {
		log.Fatal(err)
	}
}

func generate(file string) error {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return err
	}
	all, err := read(filepath.Join(strings.TrimSpace(string(root)), "lib/time/zoneinfo.zip"))
	if err != nil {
		return err
	}
	// Zones that are alike go side by side, where gzip sees it.
	slices.SortFunc(all, func(a, b zone) int { return cmp.Or(bytes.Compare(a.data, b.data), cmp.Compare(a.name, b.name)) })
	var out bytes.Buffer
	packed, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return err
	}
	w := tar.NewWriter(packed)
	for _, z := range all {
		if err := w.WriteHeader(&tar.Header{Name: z.name, Size: int64(len(z.data))}); err != nil {
			return err
		}
		if _, err := w.Write(z.data); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	if err := packed.Close(); err != nil {
		return err
	}
	return os.WriteFile(file, out.Bytes(), 0o644)
}

// read gives the zones of a file as time/tzdata has them.
func read(file string) (all []zone, err error) {
	r, err := zip.OpenReader(file)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	for _, f := range r.File {
		if strings.HasSuffix(f.Name, "/") {
			continue
		}
		in, err := f.Open()
		if err != nil {
			return nil, err
		}
		data, err := io.ReadAll(in)
		if err != nil {
			return nil, err
		}
		all = append(all, zone{f.Name, data})
	}
	return all, nil
}
