package script

import (
	"errors"
	"fmt"
	"strings"
)

// ErrEmpty says that a script line has no words.
var ErrEmpty = errors.New("no script given; write the full path of a program")

// Split cuts a script line into words as keepalived 2.2.7 does: blanks
// separate, single and double quotes join and may meet inside one word, and a
// backslash escapes both outside and inside quotes (\a \b \E \f \n \r \t \v,
// up to three octal digits, \x and hexadecimal digits, \cC; any other
// character stands for itself). No variable, glob or operator of a shell has a
// meaning: `&&` is a word like any other.
func Split(line string) ([]string, error) {
	var words []string
	var word []byte
	inWord := false
	quote := byte(0)
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case c == '\\' && i+1 < len(line):
			b, used := unescape(line[i+1:])
			word = append(word, b)
			i += used
			inWord = true
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '\'' || c == '"'):
			quote, inWord = c, true
		case quote == 0 && strings.IndexByte(" \t\n\r\v\f", c) >= 0:
			if inWord {
				words = append(words, string(word))
				word, inWord = word[:0], false
			}
		default:
			word = append(word, c)
			inWord = true
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("script %q: missing terminating %c; close the quote or escape it as \\%c", line, quote, quote)
	}
	if inWord {
		words = append(words, string(word))
	}
	return words, nil
}

// unescape reads what follows a backslash and returns the byte it means and
// how many bytes it took; s is not empty.
func unescape(s string) (b byte, used int) {
	switch s[0] {
	case 'a':
		return 7, 1
	case 'b':
		return 8, 1
	case 'E':
		return 27, 1
	case 'f':
		return 12, 1
	case 'n':
		return 10, 1
	case 'r':
		return 13, 1
	case 't':
		return 9, 1
	case 'v':
		return 11, 1
	case 'c':
		if len(s) > 1 {
			return s[1] & 0x1f, 2
		}
	case 'x':
		n := 0
		used = 1
		for used < len(s) {
			d := strings.IndexByte("0123456789abcdef", lower(s[used]))
			if d < 0 {
				break
			}
			n = n*16 + d
			used++
		}
		if used > 1 {
			return byte(n), used
		}
	}
	n := 0
	for used < 3 && used < len(s) && s[used] >= '0' && s[used] <= '7' {
		n = n*8 + int(s[used]-'0')
		used++
	}
	if used > 0 {
		return byte(n), used
	}
	return s[0], 1
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// shellLine is the text that keepalived hands to system(): the first word as
// it is, because it may be a redirection, and the others quoted, so that they
// stay words.
func shellLine(args []string) string {
	var b strings.Builder
	if strings.HasPrefix(args[0], "<") {
		b.WriteString(args[0])
	} else {
		b.WriteString(shellQuote(args[0]))
	}
	for _, a := range args[1:] {
		b.WriteByte(' ')
		b.WriteString(shellQuote(a))
	}
	return b.String()
}

func shellQuote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
