package sched

import (
	"strconv"
	"time"
)

// momentParser walks over the tokens of one specification:
//
//	moment    = base [increment]
//	base      = "now" | { clock | date | "next" unit }, each at most once
//	clock     = (HH | HHMM | HH:MM | HH "am" | HH:MM "am" | "noon" …) ["utc"]
//	date      = month day [[","] year] | day month [year] | MM/DD/YY | 27.04.2027 | 2027-04-27
//	          | MMDDYY | weekday | "today" | "tomorrow" | "next" weekday
//	increment = ("+" | "-") number unit
//
// at(1) wants the clock before the date and something before the increment; both
// orders, and a bare increment, can mean only one thing.
type momentParser struct {
	tokens []token
	m      moment
}

func parseMoment(text string) (moment, *Error) {
	tokens, err := lex(text)
	if err != nil {
		return moment{}, err
	}
	p := momentParser{tokens: tokens}
	if p.peek(0).kind == tokenNow {
		p.take()
	} else if err := p.base(); err != nil {
		return moment{}, err
	}
	if err := p.increment(); err != nil {
		return moment{}, err
	}
	return p.m, nil
}

// peek is the token i places ahead; the last one, tokenEnd, goes on for ever.
func (p *momentParser) peek(i int) token { return p.tokens[min(i, len(p.tokens)-1)] }

func (p *momentParser) take() token {
	t := p.peek(0)
	if t.kind != tokenEnd {
		p.tokens = p.tokens[1:]
	}
	return t
}

func (p *momentParser) accept(kind tokenKind) bool {
	if p.peek(0).kind != kind {
		return false
	}
	p.take()
	return true
}

func (p *momentParser) base() *Error {
	for {
		t := p.peek(0)
		var err *Error
		switch t.kind {
		case tokenEnd, tokenSign:
			return nil
		case tokenClock, tokenNamedClock:
			err = p.clock()
		case tokenNumber:
			if p.startsDate() {
				err = p.dated()
			} else {
				err = p.clock()
			}
		case tokenNext:
			err = p.next()
		case tokenToday, tokenTomorrow, tokenWeekday, tokenMonth, tokenDate:
			err = p.dated()
		default:
			err = unexpected(t)
		}
		if err != nil {
			return err
		}
	}
}

func unexpected(t token) *Error {
	hint := "type a time, then a date, then + N units, for example \"9:00 monday + 2 weeks\""
	if t.kind == tokenEnd {
		return wrong(hint, "something is missing at the end")
	}
	return wrong(hint, "unexpected %q", t.text)
}

// startsDate tells 14 nov, 12/31/2027 and 123127 from the hour 14 and from 1430.
func (p *momentParser) startsDate() bool {
	digits, following := len(p.peek(0).text), p.peek(1).kind
	return digits > 4 || (digits <= 2 && following == tokenMonth) || following == tokenSlash
}

func (p *momentParser) clock() *Error {
	t := p.take()
	if first := p.m.clock; first != nil {
		if t.kind == tokenNumber && len(t.text) == 2 && first.minute == 0 {
			return wrong("type "+quoteClock(first.hour, atoi(t.text)), "%q is a second time of day", t.text)
		}
		return wrong("type one time and one date, for example \"9:00 14 november\"", "%q is a second time of day", t.text)
	}
	hour, minute, err := p.hourMinute(t)
	if err != nil {
		return err
	}
	if p.peek(0).kind == tokenAmPm && (t.kind == tokenClock || len(t.text) <= 2) {
		half := p.take()
		if hour > 12 {
			return wrong("type "+quoteClock(hour, minute), "hour %d is too large for %s", hour, half.text)
		}
		hour = hour%12 + half.value
	}
	p.m.clock = &clock{hour, minute}
	p.m.utc = p.accept(tokenUTC)
	return nil
}

func quoteClock(hour, minute int) string { return strconv.Quote(pad(hour) + ":" + pad(minute)) }

func (p *momentParser) hourMinute(t token) (hour, minute int, err *Error) {
	const hint = "type for example \"9:30\", \"0930\" or \"9:30pm\""
	hourText, minuteText := t.text, "00"
	switch {
	case t.kind == tokenNamedClock:
		return t.value, 0, nil
	case t.kind == tokenClock:
		hourText, minuteText = t.parts[0], t.parts[1]
	case len(t.text) == 4:
		hourText, minuteText = t.text[:2], t.text[2:]
	case len(t.text) == 3:
		return 0, 0, wrong("type \"0"+t.text+"\" or \""+t.text[:1]+":"+t.text[1:]+"\"", "%q is not a time", t.text)
	}
	hour, minute = atoi(hourText), atoi(minuteText)
	switch {
	case len(minuteText) != 2:
		return 0, 0, wrong(hint, "minute %q of %q needs two digits", minuteText, t.text)
	case hour == 24 && minute == 0:
		return 0, 0, wrong("type \"midnight\" or \"0:00\", and the day that begins then", "hour 24 is not within 0-23")
	case hour > 23:
		return 0, 0, wrong(hint, "hour %d is not within 0-23", hour)
	case minute > 59:
		return 0, 0, wrong(hint, "minute %d is not within 0-59", minute)
	}
	return hour, minute, nil
}

// atoi is for digits already checked and few.
func atoi(digits string) int {
	n, _ := strconv.Atoi(digits)
	return n
}

func (p *momentParser) next() *Error {
	p.take()
	t := p.peek(0)
	switch {
	case t.kind == tokenWeekday:
		return p.dated()
	case t.kind != tokenUnit:
		return wrong("type for example \"next week\" or \"next monday\"", "%q after next is neither a weekday nor a unit", t.text)
	case p.m.next != nil || p.m.date != noDate:
		return wrong("type one date", "\"next %s\" is a second date", t.text)
	}
	in := unit(p.take().value)
	p.m.next = &in
	return nil
}

func (p *momentParser) dated() *Error {
	first := p.peek(0)
	if p.m.date != noDate || p.m.next != nil {
		return wrong("type one date, and an interval as \"+ N units\"", "%q is a second date", first.text)
	}
	switch p.take(); first.kind {
	case tokenToday:
		p.m.date = today
	case tokenTomorrow:
		p.m.date = tomorrow
	case tokenWeekday:
		p.m.date, p.m.weekday = aWeekday, time.Weekday(first.value)
	case tokenDate:
		return p.full(first.text, first.parts[0], atoi(first.parts[1]), atoi(first.parts[2]))
	case tokenMonth:
		day := p.take()
		if day.kind != tokenNumber || len(day.text) > 2 {
			return wrong("type for example \""+first.text+" 14\"", "%q after %s is not a day", day.text, first.text)
		}
		return p.named(first, day)
	default:
		return p.numeric(first)
	}
	return nil
}

// numeric is a date that begins with a number: 14 nov, 12/31/27, 123127.
func (p *momentParser) numeric(first token) *Error {
	if p.peek(0).kind == tokenMonth && len(first.text) <= 2 {
		return p.named(p.take(), first)
	}
	if p.accept(tokenSlash) {
		day := p.take()
		slash := p.accept(tokenSlash)
		year := p.take()
		if len(first.text) > 2 || day.kind != tokenNumber || len(day.text) > 2 || !slash || year.kind != tokenNumber {
			return wrong("type for example \"12/31/2027\" or \"2027-12-31\"", "%q does not begin a date MM/DD/YYYY", first.text+"/")
		}
		return p.full(first.text+"/"+day.text+"/"+year.text, year.text, atoi(first.text), atoi(day.text))
	}
	digits := first.text
	if len(digits) < 5 || len(digits) > 8 {
		return wrong("type for example \"2027-12-31\"", "%q is not a date", clip(digits))
	}
	split := 2 - len(digits)%2 // MDDYY, MMDDYY, MDDCCYY, MMDDCCYY
	return p.full(digits, digits[split+2:], atoi(digits[:split]), atoi(digits[split:split+2]))
}

// named is a date with the month's name; what follows it may be the year.
func (p *momentParser) named(month, day token) *Error {
	p.m.date, p.m.month, p.m.day = monthDay, time.Month(month.value), atoi(day.text)
	comma := p.accept(tokenComma)
	year := p.peek(0)
	if isYear := year.kind == tokenNumber && p.peek(1).kind != tokenAmPm && !p.startsDate(); isYear || comma {
		p.take()
		return p.full(day.text+" "+month.text+" "+year.text, year.text, month.value, p.m.day)
	}
	const leapYear = 2000
	return checkDay(day.text+" "+month.text, leapYear, p.m.month, p.m.day)
}

func (p *momentParser) full(text, yearText string, month, day int) *Error {
	if n := len(yearText); (n != 2 && n != 4) || !isDigit(yearText[0]) || (n == 4 && yearText < "1970") {
		return wrong("type a year of four digits, and a time before the date", "%q is not a year", clip(yearText))
	}
	year := atoi(yearText)
	switch {
	case len(yearText) == 4:
	case year < 70: // as in at
		year += 2000
	default:
		year += 1900
	}
	if month < 1 || month > 12 {
		return wrong("type for example \"2027-12-31\", \"31.12.2027\" or \"12/31/2027\"", "month %d of %q is not within 1-12", month, text)
	}
	p.m.date, p.m.month, p.m.day, p.m.year = fullDate, time.Month(month), day, year
	return checkDay(text, year, p.m.month, day)
}

func checkDay(text string, year int, month time.Month, day int) *Error {
	if last := daysIn(year, month); day < 1 || day > last {
		return wrong("type a day within 1-"+strconv.Itoa(last), "%q never happens: that month has no day %d", text, day)
	}
	return nil
}

func (p *momentParser) increment() *Error {
	if p.peek(0).kind == tokenEnd {
		return nil
	}
	sign := p.take()
	if sign.kind != tokenSign {
		return unexpected(sign)
	}
	number, name := p.take(), p.take()
	hint := "type for example \"" + sign.text + " 6 hours\""
	if number.kind != tokenNumber {
		return wrong(hint, "%q after %s is not a number", number.text, sign.text)
	}
	if name.kind != tokenUnit {
		return wrong(hint, "%q after %s %s is not a unit: minutes, hours, days, weeks, months or years", name.text, sign.text, clip(number.text))
	}
	if end := p.peek(0); end.kind != tokenEnd {
		return wrong("type one increment, in one unit: \"+ 90 minutes\"", "unexpected %q after %s %s %s", end.text, sign.text, clip(number.text), name.text)
	}
	in := unit(name.value)
	n, err := strconv.Atoi(number.text)
	if most := longest[in]; err != nil || n > most {
		return wrong("type at most "+count(most, in), "%s %s are more than a hundred years", clip(number.text), name.text)
	}
	if n == 0 {
		return wrong(hint, "%s 0 %s is no interval", sign.text, name.text)
	}
	if sign.text == "-" {
		n = -n
	}
	p.m.increment, p.m.incrementIn = n, in
	return nil
}

// longest is a hundred years in each unit: more is a slip, and keeps every sum in range.
var longest = [...]int{minutes: 52596000, hours: 876600, days: 36525, weeks: 5217, months: 1200, years: 100}
