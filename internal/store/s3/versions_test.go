package s3_test

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"tinybackup/internal/store"
	"tinybackup/internal/store/s3"
	"tinybackup/internal/store/s3/s3test"
	"tinybackup/internal/store/storetest"
)

// lockedBucket makes a bucket that keeps every version of an object for a day, whoever
// asks to have it removed, and returns a destination in it and what looks behind.
func lockedBucket(t *testing.T, server *s3test.Server) (dest string, client *minio.Client, bucket string) {
	t.Helper()
	if !server.Versions {
		t.Skip("the server keeps no versions where files have no attributes")
	}
	client, err := minio.New(server.Addr, &minio.Options{Creds: credentials.NewStaticV4(server.ID, server.Secret, ""), Region: "us-east-1"})
	must(t, err)
	bucket = server.Bucket + "-locked"
	must(t, client.MakeBucket(t.Context(), bucket, minio.MakeBucketOptions{ObjectLocking: true}))
	mode, days, unit := minio.Governance, uint(1), minio.Days
	must(t, client.SetBucketObjectLockConfig(t.Context(), bucket, &mode, &days, &unit))
	return strings.Replace(server.Dest("a b/c"), server.Bucket, bucket, 1), client, bucket
}

// In a bucket with versions and a lock on the objects all is as elsewhere.
func TestConformanceLocked(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	dest, _, _ := lockedBucket(t, server)
	d := open(t, server, dest)
	storetest.Store(t, func(t *testing.T) store.Store { return store.NewRemote(d.At(t.Name())) })
}

// What is removed there is hidden, and its name free; its bytes can still be had.
func TestVersions(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	dest, client, bucket := lockedBucket(t, server)
	d := openWith(t, dest, s3.Options{Keys: s3.Keys{ID: server.ID, Secret: server.Secret}})
	old := storetest.Random(1, 9*mib)
	must(t, makeOf(t, d, "old", nil, piece{literal: old}))
	must(t, makeOf(t, d, "new", openArchive(t, d, "old"), piece{n: 9 * mib}))
	must(t, d.Remove(t.Context(), "old"))
	if err := d.Remove(t.Context(), "old"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("removed again: got %v", err)
	}
	if _, err := d.Open(t.Context(), "old"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("opened: got %v", err)
	}
	if objects, err := d.List(t.Context(), ""); err != nil || len(objects) != 1 {
		t.Errorf("listed: %v, %v", objects, err)
	}
	wantBytes(t, d, "new", old)
	must(t, makeOf(t, d, "old", nil, piece{literal: []byte("another")}))
	wantBytes(t, d, "old", []byte("another"))
	for o := range client.ListObjects(t.Context(), bucket, minio.ListObjectsOptions{Recursive: true, WithVersions: true}) {
		must(t, o.Err)
		if o.IsDeleteMarker {
			continue
		}
		if err := client.RemoveObject(t.Context(), bucket, o.Key, minio.RemoveObjectOptions{VersionID: o.VersionID}); err == nil {
			t.Errorf("version %s of %s is not locked", o.VersionID, o.Key)
		}
		if o.Size == int64(len(old)) && strings.HasSuffix(o.Key, "/old") {
			old = nil
		}
	}
	if old != nil {
		t.Error("the bytes of what was removed are gone")
	}
}
