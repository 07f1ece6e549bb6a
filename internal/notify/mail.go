package notify

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"
	"unicode"
)

// A mailer sends letters through a mail server. Its URL is
//
//	smtp://[USER:PASSWORD@]HOST[:PORT]/?from=ADDRESS&to=ADDRESS,ADDRESS
//
// the port 25 if there is none, and these options, in upper or lower case:
//
//	auth=plain|login|crammd5|oauth2|none   else what the server offers, if there is a user
//	encryption=auto|explicittls|implicittls|none
//	                    auto: from the start on port 465, else if the server offers it
//	starttls=no         do not begin encryption in a session
//	requirestarttls=yes or fail
//	skiptlsverify=yes   trust any server
//	fromname=           the sender's name
//	subject=            of one's own: ours becomes the first line
//	usehtml=yes         as HTML, too
//	clienthost=         what the server is told we are, "auto": the host's name
//	timeout=            of a try, if that is less than ours
//
// Other names are fromaddress, toaddresses, title and usestarttls.
type mailer struct {
	host, port     string
	user, password string
	auth           string // "": what the server offers
	implicit       bool   // encrypted from the start
	startTLS       startTLS
	anyCertificate bool
	clientHost     string
	timeout        time.Duration // 0: that of the try

	from, fromName string
	to             []string
	subject        string // of one's own, or ""
	html           bool

	id   string // of the letters
	mu   sync.Mutex
	sent map[string]bool // to whom: who has it does not get it with the next try again
}

// startTLS says whether a session is encrypted once it has begun (RFC 3207).
type startTLS int

const (
	ifOffered startTLS = iota
	always
	never
)

// openMail reads the URL of a mailer.
func openMail(u *url.URL) (sender, error) {
	o := options{Values: url.Values{}}
	for key, values := range u.Query() {
		o.Set(strings.ToLower(key), values[0])
	}
	m := &mailer{host: u.Hostname(), port: u.Port(), id: rand.Text(), sent: make(map[string]bool)}
	m.user = u.User.Username()
	m.password, _ = u.User.Password()
	if m.port == "" {
		m.port = "25"
	}
	m.addresses(&o)
	m.session(&o)
	for key := range o.Values {
		o.fail(fmt.Errorf("it has no option %q", key))
	}
	if o.err != nil {
		return nil, o.err
	}
	return m, nil
}

// addresses reads what is in the letters.
func (m *mailer) addresses(o *options) {
	m.from = address(o, o.text("fromaddress", "from"))
	for _, one := range strings.Split(o.text("toaddresses", "to"), ",") {
		if one = address(o, one); one != "" {
			m.to = append(m.to, one)
		}
	}
	switch {
	case m.from == "":
		o.fail(errors.New("fromAddress missing from config URL"))
	case len(m.to) == 0:
		o.fail(errors.New("toAddress missing from config URL"))
	}
	m.fromName = oneLine(o.text("fromname"), 200)
	m.subject = oneLine(o.text("subject", "title"), 200)
	m.html, _ = o.yes("usehtml")
}

// address is one mail address: of a person elsewhere, or of this machine, without @.
func address(o *options, text string) string {
	// A plus sign is a space in a query.
	text = strings.ReplaceAll(strings.TrimSpace(text), " ", "+")
	if strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) }) || strings.ContainsAny(text, `<>"\`) {
		o.fail(fmt.Errorf("%q is no mail address", text))
	}
	return text
}

// session reads how the server is spoken to.
func (m *mailer) session(o *options) {
	m.auth = o.word("auth", "none", "plain", "login", "crammd5", "oauth2", "unknown")
	if m.auth == "unknown" {
		m.auth = ""
	}
	encryption := o.word("encryption", "auto", "none", "explicittls", "implicittls")
	m.implicit = encryption == "implicittls" || m.port == "465" && (encryption == "" || encryption == "auto")
	switch encryption {
	case "none":
		m.startTLS = never
	case "explicittls":
		m.startTLS = always
	}
	wanted, given := o.yes("usestarttls", "starttls")
	switch {
	case given && !wanted:
		m.startTLS = never
	case given && m.startTLS == never:
		m.startTLS = ifOffered
	}
	if must, _ := o.yes("requirestarttls"); must && (wanted || !given) {
		m.startTLS = always
	}
	m.anyCertificate, _ = o.yes("skiptlsverify")
	m.clientHost = o.or("localhost", "clienthost")
	if m.clientHost == "auto" {
		var err error
		if m.clientHost, err = os.Hostname(); err != nil || m.clientHost == "" {
			m.clientHost = "localhost"
		}
	}
	if text := o.text("timeout"); text != "" {
		var err error
		if m.timeout, err = time.ParseDuration(text); err != nil || m.timeout <= 0 {
			o.fail(fmt.Errorf("timeout=%s is no time such as 5s", text))
		}
	}
}
