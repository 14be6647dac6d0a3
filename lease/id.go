package lease

import (
	crand "crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// ownerOf returns the owner that stands in every id: a label, and a number of this manager's own.
func ownerOf(label string) (string, error) {
	if label == "" {
		host, err := os.Hostname()
		if err != nil {
			host = "unknown"
		}
		label = sanitize(host) + "/" + strconv.Itoa(os.Getpid())
	}
	if bad := strings.IndexFunc(label, func(r rune) bool { return !ownerRune(r) }); bad >= 0 || len(label) > 128 {
		return "", &OptionError{"Options.Owner", label, "use up to 128 printable ASCII characters without spaces, '@', '~', '#', ','"}
	}
	id := uuid.New()
	return fmt.Sprintf("%s~%x", label, id[:4]), nil
}

func ownerRune(r rune) bool { return r > ' ' && r < 0x7f && !strings.ContainsRune("@~#,", r) }

func labelRune(r rune) bool { return r >= ' ' && r < 0x7f && !strings.ContainsRune("@#,", r) }

func sanitize(host string) string {
	return strings.Map(func(r rune) rune {
		if ownerRune(r) {
			return r
		}
		return '-'
	}, host)
}

// newID returns <uuid>@<owner>, with :<label> before the @ where there is one, and #<weight> at the end when that is not 1.
// The UUID begins with the time, by this
// process's clock (RFC 9562, version 7), for people who look at holders and waiters.
func (m *Manager) newID(weight int, label string) string {
	var u uuid.UUID
	_, _ = crand.Read(u[:]) // never fails
	ms := uint64(m.clock.Now().UnixMilli())
	u[0], u[1], u[2], u[3], u[4], u[5] = byte(ms>>40), byte(ms>>32), byte(ms>>24), byte(ms>>16), byte(ms>>8), byte(ms)
	u[6] = 0x70 | u[6]&0x0f
	u[8] = 0x80 | u[8]&0x3f
	var buf [128]byte
	id := append(hex.AppendEncode(buf[:0], u[:4]), '-')
	id = append(hex.AppendEncode(id, u[4:6]), '-')
	id = append(hex.AppendEncode(id, u[6:8]), '-')
	id = append(hex.AppendEncode(id, u[8:10]), '-')
	id = hex.AppendEncode(id, u[10:])
	if label != "" {
		id = append(append(id, ':'), label...)
	}
	id = append(append(id, '@'), m.owner...)
	if weight != 1 {
		id = strconv.AppendInt(append(id, '#'), int64(weight), 10)
	}
	return string(id)
}

// validWeight reports whether the weight in an id is one that newID writes.
func validWeight(id string) bool {
	_, weight, found := strings.Cut(id, "#")
	n, err := strconv.Atoi(weight)
	return !found || err == nil && n > 1 && n <= maxWeight && strconv.Itoa(n) == weight
}

// weightOf reads the weight in an id. Whatever stands in Redis, it is no more than an id can have.
func weightOf(id string) int {
	if _, weight, found := strings.Cut(id, "#"); found {
		if n, err := strconv.Atoi(weight); err == nil && n > 0 {
			return min(n, maxWeight)
		}
	}
	return 1
}

// grantOf is the id of the grant that a member belongs to, whatever its name, and whether it was revoked.
func grantOf(member string) (id string, revoked bool) {
	id, revoked = strings.CutPrefix(member, "revoked,")
	id, _, _ = strings.Cut(id, ",") // <id>,1 to <id>,<weight>; no id has a comma in it
	return id, revoked
}

// labelIn is the label in an id, empty where there is none.
func labelIn(id string) string {
	before, _, _ := strings.Cut(id, "@")
	_, label, _ := strings.Cut(before, ":")
	return label
}

// ownerIn is the owner in an id.
func ownerIn(id string) string {
	_, owner, _ := strings.Cut(id, "@")
	owner, _, _ = strings.Cut(owner, "#")
	return owner
}

// askedAt is the time in the UUID that begins an id.
func askedAt(id string) time.Time {
	first, _, _ := strings.Cut(id, "@")
	first, _, _ = strings.Cut(first, ":")
	u, err := uuid.Parse(first)
	if err != nil || u.Version() != 7 {
		return time.Time{}
	}
	return time.Unix(u.Time().UnixTime())
}
