package s3

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/xml"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"tinybackup/internal/store"
)

const (
	patience      = 3 * time.Minute // how long waiting for a service that answered before may take
	firstPatience = 3 * time.Second // and for one that never did, or was waited for in vain
	firstPause    = 200 * time.Millisecond
	maxPause      = 15 * time.Second
)

// trial is one thing that is tried until it succeeds.
type trial struct {
	began  time.Time
	pause  time.Duration
	waited time.Duration
	lost   bool // an earlier attempt may have been done all the same: its answer was lost
	// plainly: it goes without a condition, as the service holds against it what was
	// removed, and is hidden behind a mark in a bucket with versions.
	plainly bool
	moved   bool // the service said in which region it is
	resent  bool // the signature was wrong
	fresh   bool // keys that had expired were fetched anew
}

// progress says that the attempt got on: the next failure is a first one again.
func (t *trial) progress() { t.began, t.pause, t.waited = time.Now(), firstPause, 0 }

// try calls attempt until it succeeds, its error is one that does not pass, or patience is
// at an end. The error is one for people. All of minio's own attempts are turned off: they
// would hide that a request may have been done already when it is made again.
func (d *Driver) try(ctx context.Context, op, key string, attempt func(t *trial) error) error {
	t := &trial{}
	t.progress()
	for {
		err, began := context.Cause(ctx), time.Now()
		if err == nil {
			if err = attempt(t); err == nil {
				d.reached.Store(true)
				d.accepted.Store(true)
				return nil
			}
		}
		if ctx.Err() != nil {
			return d.fail(op, key, context.Cause(ctx))
		}
		answer, answered := errors.AsType[minio.ErrorResponse](err)
		if answered {
			d.reached.Store(true)
		}
		switch {
		case answered && isExpired(answer) && !t.fresh:
			t.fresh = true // somebody may have put new ones where ours came from
			d.keys.Expire()
			continue
		case answered && answer.Code == minio.SignatureDoesNotMatch && d.accepted.Load() && !t.resent:
			t.resent = true // the keys were good: bytes got damaged on their way
		case answered && d.region == "" && answer.Region != "" && isRegion(answer) && !t.moved:
			t.moved = true // minio has noted the region
			continue
		case !passes(err):
			return d.fail(op, key, err)
		}
		t.lost = t.lost || !answered || answer.StatusCode >= 500 || answer.StatusCode < 300
		if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
			// Waiting, too; but an answer that got lost on its way is asked for once more.
			t.waited += min(time.Since(began), d.patience/2)
		}
		if !d.wait(ctx, t) {
			if !answered {
				d.reached.Store(false) // whatever is asked next need not find that out anew
			}
			return d.fail(op, key, err)
		}
	}
}

// wait waits before the next attempt, longer each time; false says that it is time to give up.
func (d *Driver) wait(ctx context.Context, t *trial) (ok bool) {
	pause := t.pause/2 + rand.N(t.pause) // so that many do not come at once
	if d.reached.Load() && t.waited+pause > d.patience || !d.reached.Load() && time.Since(t.began)+pause > min(firstPatience, d.patience) {
		return false
	}
	t.pause = min(2*t.pause, maxPause)
	t.waited += pause
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done(): // which the loop sees
	case <-timer.C:
	}
	return true
}

// passes reports whether what failed may work when it is tried again.
func passes(err error) bool {
	if _, final := errors.AsType[*store.Error](err); final { // of something that was tried by itself
		return false
	}
	if answer, ok := errors.AsType[minio.ErrorResponse](err); ok {
		return answerPasses(answer)
	}
	for _, e := range []error{errTryAgain, errDamaged, errNotShown, errKeysLate, io.ErrUnexpectedEOF, io.EOF} {
		if errors.Is(err, e) {
			return true
		}
	}
	if _, ok := errors.AsType[*xml.SyntaxError](err); ok { // an answer that was cut off
		return true
	}
	if isTLS(err) {
		return false
	}
	// url.Error, the library's own for a connection that was cut, and all of package net.
	_, ok := errors.AsType[net.Error](err)
	return ok
}

func answerPasses(answer minio.ErrorResponse) bool {
	switch answer.Code {
	case "RequestTimeout", "InternalError", "SlowDown", "SlowDownRead", "SlowDownWrite", "ServiceUnavailable",
		"Throttling", "ThrottlingException", "RequestLimitExceeded", "RequestThrottled", "TooManyRequests",
		"OperationAborted", "ConditionalRequestConflict", // two changes at once
		minio.BadDigest, minio.IncompleteBody, minio.XAmzContentSHA256Mismatch: // bytes that got damaged on their way
		return true
	case minio.NotImplemented, "XMinioStorageFull", "InsufficientStorage":
		return false
	}
	switch answer.StatusCode {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout, 520: // what Cloudflare says for "something else"
		return true
	}
	return false
}

// isTLS reports whether an error is of a connection that could not be made secure.
func isTLS(err error) bool {
	_, verify := errors.AsType[*tls.CertificateVerificationError](err)
	_, record := errors.AsType[tls.RecordHeaderError](err)
	_, authority := errors.AsType[x509.UnknownAuthorityError](err)
	return verify || record || authority || isPlain(err)
}

// isPlain reports whether it is because the server has no TLS.
func isPlain(err error) bool {
	u, ok := errors.AsType[*url.Error](err)
	return ok && strings.Contains(u.Err.Error(), "server gave HTTP response to HTTPS client")
}
