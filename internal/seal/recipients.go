package seal

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"

	"filippo.io/age"
	"filippo.io/age/agessh"
)

const (
	recipientsFile  = "recipients"
	recipientAdvice = "recipients are public keys: age1…, ssh-ed25519 … or ssh-rsa …; see that none of it is missing"
)

// Recipients are those who can read what a Writer writes: one at least.
type Recipients struct {
	all   []age.Recipient
	lines []string // as they were written
}

// IsFile says whether one of the values that ReadRecipients takes is the path of a file,
// and no recipient.
func IsFile(value string) bool {
	return !strings.HasPrefix(value, "age1") && !strings.HasPrefix(value, "ssh-") && !isOtherKey(value) && !isSecret(value)
}

// isOtherKey says whether a line is a public key of ssh that age does not take: no path
// either.
func isOtherKey(line string) bool {
	return strings.HasPrefix(line, "ecdsa-sha2-") || strings.HasPrefix(line, "sk-ssh-") || strings.HasPrefix(line, "sk-ecdsa-")
}

// CheckRecipient says what is wrong with a value that ReadRecipients takes, without
// opening a file.
func CheckRecipient(value string) error {
	if value == "" {
		return &Error{Msg: "a recipient is empty", Advice: "give a public key (age1…, ssh-ed25519 …, ssh-rsa …), or a file with such"}
	}
	if IsFile(value) {
		return nil
	}
	_, err := parseRecipient(value)
	return err
}

// ReadRecipients reads recipients: each value is one, age1… or the line of an ssh public
// key of type ssh-ed25519 or ssh-rsa; or a file with one in each line, where empty lines
// and those that begin with # do not count. The error is an *Error.
func ReadRecipients(values []string) (*Recipients, error) {
	r := &Recipients{}
	for _, value := range values {
		var err error
		switch {
		case IsFile(value):
			err = r.readFile(value)
		default:
			err = r.add(value)
		}
		if err != nil {
			return nil, err
		}
	}
	// Some do not go together, which only encrypting tells; and of too many, only decrypting.
	var file bytes.Buffer
	if _, err := age.Encrypt(&file, r.all...); err != nil {
		return nil, &Error{Msg: "the recipients cannot be used: " + err.Error(), Err: err, Advice: "give recipients of one kind: post-quantum ones (age1pq1…) hide nothing that is encrypted to others as well"}
	}
	if _, err := age.ExtractHeader(&file); err != nil {
		return nil, &Error{
			Msg: fmt.Sprintf("%d recipients are too many: nobody could read the archives", len(r.all)), Err: err,
			Advice: "give 1024 at most, fewer if they are large ssh-rsa keys",
		}
	}
	return r, nil
}

func (r *Recipients) readFile(path string) error {
	data, err := readKeys(recipientsFile, path)
	if err != nil {
		return err
	}
	before, number := len(r.all), 0
	for line := range strings.Lines(string(data)) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		err := r.add(line)
		var e *Error
		if errors.As(err, &e) {
			return &Error{Msg: fmt.Sprintf("%s:%d: %s", path, number, e.Msg), Advice: e.Advice, Err: e.Err}
		}
	}
	if len(r.all) == before {
		return &Error{Msg: fmt.Sprintf("recipients file %q: no recipient is in it", path), Advice: "put a public key into it (age1…, ssh-ed25519 …, ssh-rsa …): nobody could read the archives"}
	}
	return nil
}

func (r *Recipients) add(line string) error {
	one, err := parseRecipient(line)
	if err != nil {
		return err
	}
	r.all = append(r.all, one)
	r.lines = append(r.lines, line)
	return nil
}

// isSecret says whether a line is an identity, or the beginning of one.
func isSecret(line string) bool {
	return strings.HasPrefix(line, "AGE-SECRET-KEY-") || strings.HasPrefix(line, "AGE-PLUGIN-") ||
		strings.HasPrefix(line, "-----BEGIN") || strings.HasPrefix(line, magic)
}

func parseRecipient(line string) (one age.Recipient, err error) {
	switch {
	case isSecret(line):
		return nil, &Error{
			Msg:    "it is an identity, the secret that reads the archives, and no recipient",
			Advice: "give its public key (age-keygen -y KEYFILE, or the .pub file of an ssh key), and keep the identity on another machine",
		}
	case strings.HasPrefix(line, "age1pq1"):
		one, err = age.ParseHybridRecipient(line)
	case strings.HasPrefix(line, "age1"):
		one, err = age.ParseX25519Recipient(line)
	case strings.HasPrefix(line, "ssh-"):
		one, err = agessh.ParseRecipient(line)
	case isOtherKey(line):
		err = errors.New("a key of this type signs, and encrypts nothing")
	default: // in a file, which may be one of secrets: nothing of it is told
		return nil, &Error{Msg: "it is no recipient", Advice: recipientAdvice}
	}
	if err != nil {
		return nil, &Error{
			Msg: fmt.Sprintf("%q is no recipient: %v", short(line), cause(err)), Err: err,
			Advice: recipientAdvice,
		}
	}
	return one, nil
}

// cause is err without what the library says before it, which repeats the whole key.
func cause(err error) error {
	for errors.Unwrap(err) != nil {
		err = errors.Unwrap(err)
	}
	if _, why, found := strings.Cut(err.Error(), `": `); found {
		return errors.New(why)
	}
	return err
}

// short is enough of a key to find it by.
func short(key string) string {
	const most = 40
	if runes := []rune(key); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return key
}

// Count is how many recipients there are.
func (r *Recipients) Count() int { return len(r.all) }

// ID is the same for the same recipients, in whatever order, as hex.
func (r *Recipients) ID() string {
	sum := sha256.New()
	for _, line := range slices.Sorted(slices.Values(r.lines)) {
		fmt.Fprintf(sum, "%q\n", line)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// A Writer encrypts what is written to it.
type Writer struct {
	to  []age.Recipient
	age io.WriteCloser // nil: nothing was written yet
	out counter
}

// Writer returns a Writer to out, to which nobody else may write from the first Write on.
// What out has is complete when Close has returned nil. Memory: 64 KiB.
func (r *Recipients) Writer(out io.Writer) *Writer {
	return &Writer{to: r.all, out: counter{w: out, sum: sha256.New()}}
}

// begin writes the header, unless it is written.
func (w *Writer) begin() (err error) {
	if w.age == nil {
		w.age, err = age.Encrypt(&w.out, w.to...)
	}
	return err
}

// Write implements io.Writer.
func (w *Writer) Write(p []byte) (int, error) {
	if err := w.begin(); err != nil {
		return 0, err
	}
	return w.age.Write(p)
}

// Close writes what is left. It does not close the writer below.
func (w *Writer) Close() error {
	if err := w.begin(); err != nil {
		return err
	}
	return w.age.Close()
}

// Size is how many encrypted bytes were written.
func (w *Writer) Size() int64 { return w.out.n }

// SHA256 is the checksum of the encrypted bytes that were written, in lower-case hex.
func (w *Writer) SHA256() string { return hex.EncodeToString(w.out.sum.Sum(nil)) }

// counter counts and sums up what passes.
type counter struct {
	w   io.Writer
	n   int64
	sum hash.Hash
}

// Write implements io.Writer.
func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	c.sum.Write(p[:n])
	return n, err
}
