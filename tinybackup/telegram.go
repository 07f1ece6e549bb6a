package tinybackup

import (
	"net/url"
	"regexp"
	"strings"
)

// telegramSection is the section of older programs that says who is told by
// Telegram.
const telegramSection = "Telegram"

// telegram is what is in that section.
type telegram struct {
	Token string `ini-name:"bot_token"`
	Chat  string `ini-name:"chat_id"` // a number, or @ and the name of a channel
}

// A token is the number of the bot, a colon and its password.
var telegramToken = regexp.MustCompile(`^[0-9]+:[A-Za-z0-9_-]+$`)

// url is what --notify says in its place; "" if there is neither a token nor a
// chat.
func (t telegram) url() (string, error) {
	token, chat := unquote(t.Token), unquote(t.Chat)
	switch {
	case token == "" && chat == "":
		return "", nil
	case chat == "":
		return "", &UsageError{Msg: "[Telegram] has no chat_id", Hint: "give the number of a chat, or @ and the name of a channel"}
	case !telegramToken.MatchString(token):
		return "", &UsageError{Msg: "the bot_token of [Telegram] is not the token of a bot", Hint: "it is as @BotFather told it: a number, a colon and 35 characters"}
	}
	return "telegram://" + token + "@telegram?chats=" + url.QueryEscape(chat), nil
}

// unquote takes single quotes off a value; double ones are gone by then.
func unquote(value string) string {
	if n := len(value); n > 1 && value[0] == '\'' && value[n-1] == '\'' {
		value = value[1 : n-1]
	}
	return strings.TrimSpace(value)
}

// addTelegram makes the section, which stands at where, one more of those who are
// told, and says whether it was.
func (s *sharedFile) addTelegram(bot telegram, where origins) (bool, error) {
	url, err := bot.url()
	if err != nil || url == "" {
		for _, key := range []string{"bot_token", "chat_id"} {
			if err != nil && len(where[key]) > 0 {
				return false, at(where[key][0], err)
			}
		}
		return false, err
	}
	s.options.Notify = append(s.options.Notify, ServiceURL(url))
	s.where["notify"] = append(s.where["notify"], where["bot_token"]...)
	return true, nil
}
