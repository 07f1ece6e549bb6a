package sched

import (
	"regexp"
	"strconv"
	"strings"
	"time"
)

type tokenKind int

const (
	tokenEnd    tokenKind = iota
	tokenNumber           // digits alone
	tokenClock            // 14:30, 14h30
	tokenNamedClock
	tokenAmPm
	tokenUTC
	tokenNow
	tokenToday
	tokenTomorrow
	tokenWeekday
	tokenMonth
	tokenDate // 27.04.2027, 2027-04-27
	tokenNext
	tokenUnit
	tokenSign // + or -
	tokenComma
	tokenSlash
)

type token struct {
	kind  tokenKind
	text  string
	value int // weekday, month, unit, hour of a named time; 12 for pm
	parts []string
}

var (
	clockShape  = regexp.MustCompile(`^(\d{1,2})[:'h,.](\d{1,2})`)
	dottedShape = regexp.MustCompile(`^(\d{1,2})\.(\d{1,2})\.(\d{4}|\d{2})`)
	hyphenShape = regexp.MustCompile(`^(\d{4}|\d{2})-(\d{1,2})-(\d{1,2})`)
	digitsShape = regexp.MustCompile(`^\d+`)
	lettersForm = regexp.MustCompile(`^[a-z]+`)
)

// vocabulary holds at's words, with at's abbreviations: parsetime.l of at 3.2.5.
var vocabulary = func() map[string]token {
	known := map[string]token{
		"now": {kind: tokenNow}, "am": {kind: tokenAmPm}, "pm": {kind: tokenAmPm, value: 12},
		"midnight": {kind: tokenNamedClock}, "noon": {kind: tokenNamedClock, value: 12}, "teatime": {kind: tokenNamedClock, value: 16},
		"today": {kind: tokenToday}, "tomorrow": {kind: tokenTomorrow}, "next": {kind: tokenNext}, "utc": {kind: tokenUTC},
		"min": {kind: tokenUnit, value: int(minutes)},
	}
	for i, name := range unitNames {
		known[name] = token{kind: tokenUnit, value: i}
		known[name+"s"] = token{kind: tokenUnit, value: i}
	}
	for day := time.Sunday; day <= time.Saturday; day++ {
		name := strings.ToLower(day.String())
		known[name] = token{kind: tokenWeekday, value: int(day)}
		known[name[:3]] = known[name]
	}
	for month := time.January; month <= time.December; month++ {
		name := strings.ToLower(month.String())
		known[name] = token{kind: tokenMonth, value: int(month)}
		known[name[:3]] = known[name]
	}
	return known
}()

// lex splits lower-case, single-spaced text into tokens, ended by one of tokenEnd.
func lex(text string) ([]token, *Error) {
	var tokens []token
	for text != "" {
		if text[0] == ' ' {
			text = text[1:]
			continue
		}
		t, err := lexOne(text)
		if err != nil {
			return nil, err
		}
		tokens, text = append(tokens, t), text[len(t.text):]
	}
	return append(tokens, token{text: "the end"}), nil
}

func lexOne(text string) (token, *Error) {
	switch text[0] {
	case '+', '-':
		return token{kind: tokenSign, text: text[:1]}, nil
	case ',':
		return token{kind: tokenComma, text: ","}, nil
	case '/':
		return token{kind: tokenSlash, text: "/"}, nil
	}
	if word := lettersForm.FindString(text); word != "" {
		t, ok := vocabulary[word]
		if !ok {
			return t, unknownWord(word)
		}
		t.text = word
		return t, nil
	}
	// The longest shape that fits, as in at; 14,2027 is no clock but two numbers.
	if m := shape(dottedShape, text); m != nil {
		return token{kind: tokenDate, text: m[0], parts: []string{m[3], m[2], m[1]}}, nil
	}
	if m := shape(hyphenShape, text); m != nil {
		return token{kind: tokenDate, text: m[0], parts: m[1:]}, nil
	}
	if m := shape(clockShape, text); m != nil {
		if rest := text[len(m[0]):]; strings.HasPrefix(rest, ":") {
			return token{}, wrong("type "+strconv.Quote(m[1]+":"+m[2]), "%q has seconds, and times are whole minutes", clip(firstWord(text)))
		}
		return token{kind: tokenClock, text: m[0], parts: m[1:]}, nil
	}
	if digits := digitsShape.FindString(text); digits != "" {
		return token{kind: tokenNumber, text: digits}, nil
	}
	return token{}, wrong("type for example \"14:30 monday\"", "unexpected %q", clip(firstWord(text)))
}

// shape is a match that is not cut out of a longer number.
func shape(pattern *regexp.Regexp, text string) []string {
	m := pattern.FindStringSubmatch(text)
	if m == nil || (len(text) > len(m[0]) && isDigit(text[len(m[0])])) {
		return nil
	}
	return m
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func firstWord(text string) string {
	word, _, _ := strings.Cut(text, " ")
	return word
}

// unknownWord suggests the known word with the longest common beginning.
func unknownWord(word string) *Error {
	const enough = 3
	best, length := "", enough-1
	for known := range vocabulary {
		n := 0
		for n < min(len(word), len(known)) && word[n] == known[n] {
			n++
		}
		// Longer words first, then by name, so that the map's order does not show.
		if n > length || (n == length && best != "" && (len(known) > len(best) || len(known) == len(best) && known < best)) {
			best, length = known, n
		}
	}
	hint := "type for example \"14:30\", \"monday 9:00\", \"27 april\" or \"+ 6 hours\""
	switch {
	case word == "second", word == "seconds", word == "sec":
		hint = "type whole minutes, for example \"+ 5 minutes\""
	case word == "h":
		hint = "type hours with minutes, \"14h30\", or \"+ 2 hours\""
	case word == "daily", word == "hourly", word == "weekly", word == "monthly", word == "yearly":
		hint = "did you mean @" + word + "?"
	case best != "":
		hint = "did you mean " + best + "?"
	}
	return wrong(hint, "unknown word %q", clip(word))
}
