package s3

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/minio/minio-go/v7"

	"tinybackup/internal/store"
)

// each calls use for every object whose name begins with prefix, in order; without deep,
// for none with another "/" after it. A thousand come with each request; one that fails is
// repeated from where the last left off.
func (d *Driver) each(ctx context.Context, op, prefix string, deep bool, use func(minio.ObjectInfo)) error {
	owner, after := false, ""
	return d.try(ctx, op, "", func(t *trial) error {
		for o := range d.client.ListObjectsIter(ctx, d.bucket, minio.ListObjectsOptions{
			Prefix: prefix, Recursive: deep, StartAfter: after, FetchOwner: &owner,
		}) {
			if o.Err != nil {
				return o.Err
			}
			if strings.HasSuffix(o.Key, "/") {
				continue // what is deeper, as one; or an object that plays a directory
			}
			t.progress()
			after = o.Key
			use(o)
		}
		return ctx.Err() // which ends the listing without a word
	})
}

// List implements store.Driver.
func (d *Driver) List(ctx context.Context, dir string) ([]store.Object, error) {
	prefix := d.object("")
	if dir != "" {
		prefix = d.object(dir) + "/"
	}
	objects := []store.Object{}
	err := d.each(ctx, "list", prefix, false, func(o minio.ObjectInfo) {
		objects = append(objects, object(strings.TrimPrefix(o.Key, prefix), o))
	})
	if err != nil {
		return nil, err
	}
	return objects, nil
}

func object(name string, o minio.ObjectInfo) store.Object {
	return store.Object{Name: name, Size: o.Size, ModTime: o.LastModified, Allocated: o.Size, Own: o.Size}
}

// Find implements store.Driver: one listing of all that is below the destination, of which
// only what was asked for is kept.
func (d *Driver) Find(ctx context.Context, suffix string) ([]store.Found, error) {
	found := map[string]*store.Found{}
	prefix := d.object("")
	err := d.each(ctx, "search", prefix, true, func(o minio.ObjectInfo) {
		below, name, ok := cutLast("/"+strings.TrimPrefix(o.Key, prefix), "/"+store.SideDir+"/")
		if !ok || strings.Contains(name, "/") || !strings.HasSuffix(name, suffix) {
			return
		}
		below = strings.TrimPrefix(below, "/")
		if found[below] == nil {
			found[below] = &store.Found{Below: below}
		}
		found[below].Sides = append(found[below].Sides, object(name, o))
	})
	if err != nil {
		return nil, err
	}
	all := []store.Found{}
	for _, below := range slices.Sorted(maps.Keys(found)) {
		all = append(all, *found[below])
	}
	return all, nil
}

// cutLast is strings.Cut at the last sep.
func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// uploads returns the unfinished uploads of objects whose name begins with prefix, as far
// as the service lists such: those of some don't, or not by a prefix, and end them
// themselves.
func (d *Driver) uploads(ctx context.Context, op, key, prefix string) (all []minio.ObjectMultipartInfo, err error) {
	var afterKey, afterID string
	for {
		var page minio.ListMultipartUploadsResult
		err := d.try(ctx, op, key, func(*trial) (err error) {
			page, err = d.client.ListMultipartUploads(ctx, d.bucket, prefix, afterKey, afterID, "", 1000)
			if unknown(err) {
				return nil
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		all = append(all, page.Uploads...)
		again := page.NextKeyMarker == afterKey && page.NextUploadIDMarker == afterID // it would be for ever
		if !page.IsTruncated || page.NextKeyMarker == "" || again {
			return all, nil
		}
		afterKey, afterID = page.NextKeyMarker, page.NextUploadIDMarker
	}
}

// Unfinished implements store.Driver.
func (d *Driver) Unfinished(ctx context.Context) ([]string, error) {
	prefix := d.object("")
	all, err := d.uploads(ctx, "list unfinished uploads of", "", prefix)
	if err != nil {
		return nil, err
	}
	keys := []string{}
	for _, u := range all {
		if key := strings.TrimPrefix(u.Key, prefix); !strings.Contains(key, "/") && !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	return keys, nil
}

// Discard implements store.Driver.
func (d *Driver) Discard(ctx context.Context, key string) error {
	const op = "remove the unfinished upload of"
	all, err := d.uploads(ctx, op, key, d.object(key))
	if err != nil {
		return err
	}
	for _, u := range all {
		if u.Key != d.object(key) {
			continue
		}
		if err := d.abort(ctx, op, key, u.UploadID); err != nil {
			return err
		}
	}
	return nil
}

// abort ends an upload that was begun; that it is gone already is no error.
func (d *Driver) abort(ctx context.Context, op, key, id string) error {
	return d.try(ctx, op, key, func(*trial) error {
		err := d.client.AbortMultipartUpload(ctx, d.bucket, d.object(key), id)
		if answered(err, minio.NoSuchUpload) {
			return nil
		}
		return retained(err)
	})
}
