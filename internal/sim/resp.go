package sim

import (
	"bytes"
	"errors"
	"strconv"
)

// errProtocol is a request or a reply that is not RESP.
var errProtocol = errors.New("sim: not RESP")

// maxRequest bounds what a length in a request may claim.
const maxRequest = 64 << 20

var crlf = []byte("\r\n")

// parseRequest reads one command, an array of bulk strings, from the front of b
// and says how many bytes it took: 0 when the rest is yet to come. A command
// without words has a nil cmd.
func parseRequest(b []byte) (cmd []string, n int, err error) {
	words, n, err := parseLength(b, '*')
	if n == 0 || err != nil {
		return nil, 0, err
	}
	for range words {
		size, m, err := parseLength(b[n:], '$')
		if m == 0 || err != nil {
			return nil, 0, err
		}
		start, end := n+m, n+m+size
		if len(b) < end+2 {
			return nil, 0, nil
		}
		if !bytes.Equal(b[end:end+2], crlf) {
			return nil, 0, errProtocol
		}
		cmd = append(cmd, string(b[start:end]))
		n = end + 2
	}
	return cmd, n, nil
}

// parseLength reads a line of kind and a number; n is 0 when it is not whole.
func parseLength(b []byte, kind byte) (length, n int, err error) {
	if len(b) == 0 {
		return 0, 0, nil
	}
	if b[0] != kind {
		return 0, 0, errProtocol
	}
	end := bytes.Index(b, crlf)
	if end < 0 {
		return 0, 0, nil
	}
	length, err = strconv.Atoi(string(b[1:end]))
	if err != nil || length < 0 || length > maxRequest {
		return 0, 0, errProtocol
	}
	return length, end + 2, nil
}

// frameLen is the size of the RESP2 or RESP3 value at the front of b, 0 when
// the rest of it is yet to come.
func frameLen(b []byte) (int, error) {
	end := bytes.Index(b, crlf)
	if end < 1 {
		if end == 0 {
			return 0, errProtocol
		}
		return 0, nil
	}
	line, n := b[1:end], end+2
	switch b[0] {
	case '+', '-', ':', ',', '#', '_', '(':
		return n, nil
	case '$', '=', '!':
		size, err := strconv.Atoi(string(line))
		if err != nil || size < -1 {
			return 0, errProtocol
		}
		if size >= 0 {
			n += size + 2
		}
		if len(b) < n {
			return 0, nil
		}
		return n, nil
	case '*', '~', '>', '%', '|':
		elements, err := strconv.Atoi(string(line))
		if err != nil || elements < -1 {
			return 0, errProtocol
		}
		switch b[0] {
		case '%':
			elements *= 2
		case '|':
			elements = 2*elements + 1 // attributes come before their value
		}
		for range max(elements, 0) {
			m, err := frameLen(b[n:])
			if m == 0 || err != nil {
				return 0, err
			}
			n += m
		}
		return n, nil
	}
	return 0, errProtocol
}

// isMessage says whether a whole frame is a pub/sub message: something that the
// server says unasked. RESP2 sends it as an array, RESP3 as a notification.
func isMessage(frame []byte) bool {
	if frame[0] != '*' && frame[0] != '>' {
		return false
	}
	_, first, _ := bytes.Cut(frame, crlf)
	return bytes.HasPrefix(first, []byte("$7\r\nmessage\r\n")) ||
		bytes.HasPrefix(first, []byte("$8\r\npmessage\r\n"))
}
