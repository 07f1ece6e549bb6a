// Package zones has the time zones of the world, for machines that have none, as a
// container from scratch. It is what time/tzdata is, in a fifth of the bytes.
package zones

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	_ "embed"
	"io"
	"time"
)

//go:generate go run generate.go

//go:embed zones.tar.gz
var packed []byte

// Load is time.LoadLocation, which knows the zones of the machine; those that it does
// not have are taken from here. The error is time.LoadLocation's.
func Load(name string) (*time.Location, error) {
	zone, err := time.LoadLocation(name)
	if err == nil {
		return zone, nil
	}
	if own, found := load(name); found {
		return own, nil
	}
	return nil, err
}

// load is a zone that is in here.
func load(name string) (*time.Location, bool) {
	unpacked, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, false
	}
	for r := tar.NewReader(unpacked); ; {
		h, err := r.Next()
		if err != nil {
			return nil, false
		}
		if h.Name != name {
			continue
		}
		data, err := io.ReadAll(r)
		if err != nil {
			return nil, false
		}
		zone, err := time.LoadLocationFromTZData(name, data)
		return zone, err == nil
	}
}
