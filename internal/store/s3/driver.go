// Package s3 keeps backups in a bucket of a service that speaks S3: Amazon's, another
// provider's, or a server of one's own.
//
// What was begun and not finished is a multipart upload, which no listing shows: a killed
// run leaves no half archive, and what it leaves is found and removed by the next. Objects
// are named on the condition that there is none of that name, where the service has such
// conditions; where not, the driver looks first.
package s3

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"tinybackup/internal/store"
)

// Options are what Open needs besides the destination. The zero value is usable.
type Options struct {
	Keys     Keys              // from the job file
	Patience time.Duration     // how long a service that went away is waited for; zero: three minutes
	Base     http.RoundTripper // sends the requests; nil: a transport of our own
}

// Driver is one destination. It implements store.Driver.
type Driver struct {
	dest
	*service
	below bool // it was made by At: the service is another's to close
}

// service is what the destinations of one Open share.
type service struct {
	client   *minio.Core
	keys     *credentials.Credentials
	chain    *keyChain // of keys
	given    bool      // the keys are those of the options
	even     bool      // it wants all parts of an upload but the last alike
	patience time.Duration
	close    func()

	ahead    atomic.Int64 // its clock before ours, a time.Duration
	reached  atomic.Bool  // it has answered
	accepted atomic.Bool  // and let us in
	plainly  atomic.Bool  // it knows no conditions on writing
	noCopy   atomic.Bool  // it does not copy
	copied   atomic.Bool  // it has copied
	tells    atomic.Bool  // its ETags are the MD5 of what was sent
}

var _ store.Driver = (*Driver)(nil)

// Open makes a driver for a destination. It asks the service nothing yet.
func Open(_ context.Context, destination string, opt Options) (*Driver, error) {
	to, err := parse(destination)
	if err != nil {
		return nil, err
	}
	d := &Driver{dest: to, service: &service{given: opt.Keys != Keys{}, patience: patience, close: func() {}}}
	if opt.Patience > 0 {
		d.patience = opt.Patience
	}
	base := opt.Base
	if base == nil {
		transport := newTransport()
		base, d.close = transport, transport.CloseIdleConnections
	}
	d.chain = &keyChain{profile: d.profile, providers: providers(opt.Keys, d.profile)}
	d.keys = credentials.New(d.chain)
	endpoint := d.endpoint
	if endpoint == "" {
		endpoint = amazon
	}
	if host, _, _ := strings.Cut(endpoint, ":"); strings.HasSuffix(host, evenHost) {
		d.beEven()
	}
	d.client, err = minio.NewCore(endpoint, &minio.Options{
		Creds: d.keys, Secure: !d.plain, Region: d.region, MaxRetries: 1, // see try
		Transport: dated{base, func(ahead time.Duration) { d.ahead.Store(int64(ahead)) }},
	})
	if err != nil {
		return nil, d.fail("use", "", err)
	}
	return d, nil
}

// evenHost is the end of the hosts of Cloudflare's R2. It refuses, only when they are to
// become an object, parts of which one but the last is not as long as the others; nor does
// it copy on a condition.
const evenHost = ".r2.cloudflarestorage.com"

// beEven is for a service that wants all parts of an upload but the last alike.
func (s *service) beEven() {
	s.even = true
	s.noCopy.Store(true)
}

// Close implements store.Driver.
func (d *Driver) Close() error {
	if !d.below {
		d.close()
	}
	return nil
}

// At implements store.Driver.
func (d *Driver) At(below string) store.Driver {
	to := &Driver{dest: d.dest, service: d.service, below: true}
	to.prefix = strings.Trim(to.prefix+"/"+below, "/")
	return to
}

// Free implements store.Driver: no such service says.
func (d *Driver) Free(context.Context) (int64, error) {
	return 0, d.fail("ask for free space of", "", errors.ErrUnsupported)
}

// Link implements store.Driver: an object has one name.
func (d *Driver) Link(_ context.Context, _, key string) error {
	return d.fail("link", key, errors.ErrUnsupported)
}

// Copies implements store.Driver.
func (d *Driver) Copies(context.Context) bool { return !d.noCopy.Load() }

// Now implements store.Driver.
func (d *Driver) Now(ctx context.Context) (time.Time, error) {
	const op = "reach"
	var date time.Time
	err := d.try(ctx, op, "", func(*trial) error {
		return d.ping(context.WithValue(ctx, dateKey{}, &date))
	})
	if err == nil && date.IsZero() {
		err = d.fail(op, "", errors.New("the service does not say"))
	}
	return date, err
}

// ping asks for next to nothing, in such a way that an error has its text.
func (d *Driver) ping(ctx context.Context) error {
	for o := range d.client.ListObjectsIter(ctx, d.bucket, minio.ListObjectsOptions{Prefix: d.object(store.SideDir + "/"), MaxKeys: 1}) {
		return o.Err
	}
	return ctx.Err()
}

// stat returns what the service says of an object. The answer to HEAD has no text, so that
// a refusal is asked for once more.
func (d *Driver) stat(ctx context.Context, key string) (minio.ObjectInfo, error) {
	info, err := d.client.StatObject(ctx, d.bucket, d.object(key), minio.StatObjectOptions{})
	answer, ok := errors.AsType[minio.ErrorResponse](err)
	if ok && answer.StatusCode < 500 && answer.StatusCode != http.StatusNotFound {
		if why := d.ping(ctx); why != nil {
			return info, why
		}
	}
	return info, err
}

// look is stat until the service says it: nil if there is no such object.
func (d *Driver) look(ctx context.Context, op, key string) (info *minio.ObjectInfo, err error) {
	if !utf8.ValidString(key) {
		return nil, d.fail(op, key, errEncoding)
	}
	err = d.try(ctx, op, key, func(*trial) error {
		found, err := d.stat(ctx, key)
		if answered(err, minio.NoSuchKey) {
			info = nil
			return nil
		}
		info = &found
		return err
	})
	return info, err
}

// Get implements store.Driver.
func (d *Driver) Get(ctx context.Context, key string, limit int64) (data []byte, version store.Version, err error) {
	const op = "read"
	if !utf8.ValidString(key) {
		return nil, "", d.fail(op, key, errEncoding)
	}
	err = d.try(ctx, op, key, func(*trial) error {
		var opts minio.GetObjectOptions
		if limit > 0 {
			_ = opts.SetRange(0, limit-1) // a valid one
		}
		body, info, _, err := d.client.GetObject(ctx, d.bucket, d.object(key), opts)
		if answered(err, minio.InvalidRange) { // it is empty
			info, err = d.stat(ctx, key)
			body = io.NopCloser(strings.NewReader(""))
		}
		if err != nil {
			return err
		}
		defer body.Close() // all of it that matters has been read
		from := io.Reader(body)
		if limit >= 0 {
			from = io.LimitReader(body, limit)
		}
		data, version = nil, store.Version(info.ETag)
		data, err = io.ReadAll(from)
		return err
	})
	return data, version, err
}

// Put implements store.Driver.
func (d *Driver) Put(ctx context.Context, key string, data []byte, only store.Version) (store.Version, error) {
	return d.put(ctx, "write", key, data, only, rand.Text())
}

// tokenMeta is what objects are marked with, so that one whose completion got no answer is
// known again: the service may have done it before the connection broke.
const (
	tokenMeta   = "Tinybackup-Token"
	contentType = "application/octet-stream"
)

// put sends one object with one request. The service compares the MD5.
func (d *Driver) put(ctx context.Context, op, key string, data []byte, only store.Version, token string) (version store.Version, err error) {
	if !utf8.ValidString(key) {
		return "", d.fail(op, key, errEncoding)
	}
	sum := md5.Sum(data)
	err = d.try(ctx, op, key, func(t *trial) error {
		opts := minio.PutObjectOptions{ContentType: contentType, UserMetadata: map[string]string{tokenMeta: token}}
		conditional := only != "" && !t.plainly && !d.plainly.Load()
		err := d.condition(ctx, key, only, conditional, &opts)
		if err == nil {
			var info minio.UploadInfo
			info, err = d.client.PutObject(ctx, d.bucket, d.object(key), bytes.NewReader(data), int64(len(data)),
				base64.StdEncoding.EncodeToString(sum[:]), "", opts)
			version = store.Version(info.ETag)
		}
		switch {
		case conditional && unconditional(err):
			d.plainly.Store(true)
			return errTryAgain
		case only != "" && (errors.Is(err, store.ErrConflict) || answered(err, minio.PreconditionFailed, minio.NoSuchKey)):
			there, lookErr := d.look(ctx, op, key)
			switch {
			case lookErr != nil:
				return lookErr
			case ours(there, token):
				version, err = store.Version(there.ETag), nil
			case there == nil && only == store.NotThere && conditional:
				t.plainly = true
				return errTryAgain
			default:
				return store.ErrConflict
			}
		}
		if err == nil && !d.same(string(version), sum) {
			if only != "" {
				only = version // it is to be replaced
			}
			return errDamaged
		}
		return err
	})
	return version, err
}

// same reports whether the service has what was sent, as far as its ETag tells: that is
// the MD5 with most services, and with those it always is. They compare the Content-MD5
// before, but not all that say so do.
func (d *Driver) same(etag string, sum [md5.Size]byte) bool {
	if etag == hex.EncodeToString(sum[:]) {
		d.tells.Store(true)
		return true
	}
	return etag != "" && !(d.tells.Load() && len(etag) == 2*md5.Size)
}

// condition makes a request one that the service refuses if the object is not of the
// version; where that is not to be, it looks first.
func (d *Driver) condition(ctx context.Context, key string, only store.Version, conditional bool, opts *minio.PutObjectOptions) error {
	switch {
	case only == "":
		return nil
	case conditional && only == store.NotThere:
		opts.SetMatchETagExcept("*")
		return nil
	case conditional:
		opts.SetMatchETag(string(only))
		return nil
	}
	info, err := d.stat(ctx, key)
	missing := answered(err, minio.NoSuchKey)
	switch {
	case err != nil && !missing:
		return err
	case missing != (only == store.NotThere), !missing && info.ETag != string(only):
		return store.ErrConflict
	}
	return nil
}

// ours reports whether an object, nil if there is none, is the one with the token: an
// attempt has made it whose answer was lost.
func ours(there *minio.ObjectInfo, token string) bool {
	return there != nil && there.UserMetadata[tokenMeta] == token
}

// Remove implements store.Driver. In a bucket with versions the service keeps the bytes,
// and hides them.
func (d *Driver) Remove(ctx context.Context, key string) error {
	const op = "remove"
	info, err := d.look(ctx, op, key)
	if err != nil {
		return err
	}
	if info == nil {
		return d.fail(op, key, fs.ErrNotExist)
	}
	return d.try(ctx, op, key, func(*trial) error {
		return retained(d.client.RemoveObject(ctx, d.bucket, d.object(key), minio.RemoveObjectOptions{}))
	})
}

// retained makes store.ErrRetained of a refusal to remove something. That the keys are
// good has been seen by then.
func retained(err error) error {
	answer, ok := errors.AsType[minio.ErrorResponse](err)
	locked := answer.Code == "InvalidRequest" && strings.Contains(strings.ToUpper(answer.Message), "WORM")
	if ok && (locked || answered(err, minio.AccessDenied, minio.MethodNotAllowed, "ObjectLocked", "ObjectLockedByBucketPolicy", "OperationNotPermitted")) {
		return store.ErrRetained
	}
	return err
}
