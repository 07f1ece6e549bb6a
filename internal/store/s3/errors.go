package s3

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/minio/minio-go/v7"

	"tinybackup/internal/store"
)

var (
	errTryAgain = errors.New("the service's answer was not complete")
	errNoRange  = errors.New("the service sent other bytes than those asked for")
	errReplaced = fmt.Errorf("%w while it was read", store.ErrConflict)
	errEncoding = errors.New("the name is not UTF-8, as the service wants names to be")
	errTooLarge = errors.New("it is more than the service takes as one object")
	errAborted  = errors.New("somebody else removed the unfinished upload")
	errNotShown = errors.New("the service said that it is there, and it is not")
	errDamaged  = errors.New("the service has other bytes than those that were sent")
)

// reason is a cause in words of our own, which is also what errors.Is asks for.
type reason struct {
	text string
	is   error
}

func (r *reason) Error() string { return r.text }
func (r *reason) Unwrap() error { return r.is }

// fail makes a *store.Error of err. What it says holds no secret: of what the service
// and the library say, only what is known is passed on, or what has been gone through.
func (d *Driver) fail(op, key string, err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*store.Error](err); ok {
		return e
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err // its URL is the service's affair
	}
	e := &store.Error{Err: err, Advice: d.advise(err)}
	if answer, ok := errors.AsType[minio.ErrorResponse](err); ok {
		e = d.explain(answer)
	}
	e.Op, e.Path, e.Err = op, d.address(key), d.redact(e.Err)
	return e
}

// minSecret is how many characters a secret has: what is shorter is found in any text.
const minSecret = 8

// redact takes our secrets out of what others said.
func (d *Driver) redact(err error) error {
	text := err.Error()
	clean := text
	if used := d.chain.last.Load(); used != nil {
		for _, secret := range []string{used.SecretAccessKey, used.SessionToken} {
			if len(secret) >= minSecret {
				clean = strings.ReplaceAll(clean, secret, "…")
			}
		}
	}
	if clean == text {
		return err
	}
	return &reason{clean, err}
}

// advise says what to type about an error that is no answer of the service.
func (d *Driver) advise(err error) string {
	host := d.endpoint
	if host == "" {
		host = amazon
	}
	_, dns := errors.AsType[*net.DNSError](err)
	_, hostname := errors.AsType[x509.HostnameError](err)
	_, authority := errors.AsType[x509.UnknownAuthorityError](err)
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return ""
	case errors.Is(err, errNoKeys):
		return "put s3-keys = ID:SECRET into the job's file, set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write them to ~/.aws/credentials (aws configure)"
	case errors.Is(err, errEncoding):
		return "choose another one with --name"
	case authority:
		return "name the file with the authority's certificate: SSL_CERT_FILE=FILE"
	case hostname:
		return fmt.Sprintf("write the host that the certificate is for, instead of %s", host)
	case strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return fmt.Sprintf("if it is to be without TLS, write %s%s/…", schemePlain, host)
	case isTLS(err):
		return fmt.Sprintf("see: openssl s_client -connect %s", withPort(host))
	case dns:
		return fmt.Sprintf("is %s spelled right, and is this machine online?", host)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Sprintf("is the service running at %s?", host)
	}
	return ""
}

func withPort(host string) string {
	if strings.Contains(host, ":") {
		return host
	}
	return host + ":443"
}

// explain says in our words what the service answered, and what to do about it.
func (d *Driver) explain(answer minio.ErrorResponse) *store.Error {
	say := func(cause error, hint string) *store.Error { return &store.Error{Err: cause, Advice: hint} }
	switch answer.Code {
	case minio.NoSuchKey, "NotFound":
		return say(fs.ErrNotExist, "")
	case minio.NoSuchBucket:
		return say(fmt.Errorf("there is no bucket %q", d.bucket), "create it with the service's own tools (aws s3 mb s3://"+d.bucket+"), or correct its name")
	case minio.PreconditionFailed:
		return say(store.ErrConflict, "")
	case minio.NoSuchUpload:
		return say(errAborted, "run it again")
	case "ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired":
		return say(errors.New("the credentials have expired"), "fetch new ones (aws sso login, aws sts …), or use keys that do not expire")
	case minio.InvalidAccessKeyID, "InvalidToken", "InvalidClientTokenId", "NotSignedUp", "XAdminUserNotFound":
		return say(errors.New("the service does not know the access key"), d.whichKeys())
	case minio.SignatureDoesNotMatch:
		return say(errors.New("the secret key is not that of the access key"), d.whichKeys())
	case minio.RequestTimeTooSkewed, "RequestExpired":
		return say(fmt.Errorf("the clock of this machine is %s the service's", d.skew()), "set it: timedatectl set-ntp true")
	case minio.AccessDenied, minio.AllAccessDisabled, "AccountProblem", "InvalidPayer":
		return say(&reason{"the service does not allow it", fs.ErrPermission}, "the keys need s3:ListBucket, s3:GetObject and s3:PutObject for it, s3:DeleteObject for rotation, and those of multipart uploads; "+d.whichKeys())
	case minio.EntityTooLarge:
		return say(errTooLarge, "exclude something, or back up its parts as jobs of their own")
	}
	switch {
	case isFull(answer):
		return say(&reason{"the quota or space of the bucket is used up", syscall.EDQUOT}, "raise it, or let rotation keep less (--keep)")
	case isRegion(answer) && answer.Region != "":
		return say(fmt.Errorf("the bucket is in the region %s", answer.Region), "write ?region="+answer.Region+" after the destination")
	case isRegion(answer):
		return say(errors.New("the bucket is in another region, or at another endpoint"), "write ?region=REGION after the destination")
	}
	text := strings.TrimSuffix(strings.TrimSpace(answer.Error()), ".")
	if first, _, more := strings.Cut(text, "\n"); more {
		text = first
	}
	if answer.Code != "" && !strings.Contains(text, answer.Code) {
		text += " (" + answer.Code + ")"
	}
	return say(errors.New("the service answered: "+text), "")
}

// isFull reports whether an answer says that there is no room.
func isFull(answer minio.ErrorResponse) bool {
	switch answer.Code {
	case "QuotaExceeded", "XMinioAdminBucketQuotaExceeded", "XMinioStorageFull", "InsufficientStorage", "StorageFull",
		"InsufficientCapacity", "StorageQuotaExceeded", "OverQuota":
		return true
	}
	return answer.StatusCode == http.StatusInsufficientStorage
}

// isRegion reports whether an answer says that the bucket is elsewhere.
func isRegion(answer minio.ErrorResponse) bool {
	switch answer.Code {
	case "PermanentRedirect", "TemporaryRedirect", minio.AuthorizationHeaderMalformed, minio.InvalidRegion, "IllegalLocationConstraintException":
		return true
	}
	return answer.StatusCode == http.StatusMovedPermanently || answer.StatusCode == http.StatusTemporaryRedirect
}

func isExpired(answer minio.ErrorResponse) bool {
	return answer.Code == "ExpiredToken" || answer.Code == "ExpiredTokenException"
}

// whichKeys says which keys were used, by the place they are from.
func (d *Driver) whichKeys() string {
	switch {
	case d.given:
		return "the keys are those of s3-keys"
	case d.profile != "":
		return fmt.Sprintf("the keys are those of the profile %q in ~/.aws/credentials", d.profile)
	}
	return "the keys are those of the environment, of ~/.aws/credentials or of the machine: aws sts get-caller-identity"
}

// skew says how the clocks differ.
func (d *Driver) skew() string {
	ahead := time.Duration(d.ahead.Load()).Round(time.Second)
	switch {
	case ahead > 0:
		return fmt.Sprintf("%v behind", ahead)
	case ahead < 0:
		return fmt.Sprintf("%v ahead of", -ahead)
	}
	return "too far from"
}

// answered reports whether an error is the answer of the service with one of these codes.
func answered(err error, codes ...string) bool {
	answer, ok := errors.AsType[minio.ErrorResponse](err)
	if !ok {
		return false
	}
	for _, code := range codes {
		if answer.Code == code {
			return true
		}
	}
	return false
}

// unconditional reports whether the service answered to a condition that it has none.
func unconditional(err error) bool {
	return unknown(err) || answered(err, minio.InvalidArgument, "InvalidRequest", "NotSupported")
}

// unknown reports whether the service answered that it has no such feature.
func unknown(err error) bool {
	answer, ok := errors.AsType[minio.ErrorResponse](err)
	return ok && (answer.StatusCode == http.StatusNotImplemented || answered(err, minio.NotImplemented, minio.APINotSupported, minio.MethodNotAllowed))
}
