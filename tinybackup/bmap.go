package tinybackup

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"tinybackup/internal/rotate"
	"tinybackup/internal/store"
)

// bmapSuffix follows an archive's name in that of the map of its blocks: there
// bmaptool looks for it. It is no archive, has its own checksum in it, and is not in
// SHA256SUMS.
const bmapSuffix = ".bmap"

// writeMap stores the map of the new archive's blocks, if there is one.
func (r *run) writeMap(ctx context.Context) (err error) {
	if r.blocks == nil {
		return nil
	}
	p, err := r.store.Create(ctx, r.manifest.Archive+bmapSuffix)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	if _, err := p.Write(r.blocks.Encode()); err != nil {
		return err
	}
	return p.Commit()
}

// removeMap takes the map away again that writeMap has stored.
func (r *run) removeMap(ctx context.Context) error {
	if r.blocks == nil {
		return nil
	}
	return ignoreKept(r.store.Remove(ctx, r.manifest.Archive+bmapSuffix))
}

// removeMaps removes those of objects that are maps of device images for whose archive
// gone is true, and returns their names.
func removeMaps(ctx context.Context, st store.Store, objects []store.Object, gone func(archive string) bool) ([]string, error) {
	var removed []string
	for _, o := range objects {
		name, isMap := strings.CutSuffix(o.Name, bmapSuffix)
		if n, ok := rotate.ParseName(name); !isMap || !ok || n.Kind != rotate.KindDevice || !gone(name) {
			continue
		}
		if err := st.Remove(ctx, o.Name); err == nil {
			removed = append(removed, o.Name)
		} else if err := ignoreKept(err); err != nil {
			return removed, fmt.Errorf("remove %q: %w", o.Name, err)
		}
	}
	return removed, nil
}
