package guard

import (
	"encoding/json"
	"net"
	"os"
	"sync"
	"time"
)

// The front and the keeper talk over a socket, one JSON object a line. When one of them dies, the other reads the end of it.

// Settings are the first that the front sends: what the keeper acquires.
type Settings struct {
	URL         string
	Prefix      string
	Timeout     time.Duration
	Owner       string
	Name        string
	Capacity    int // 0: what the fleet declares
	TTL         time.Duration
	Weight      int
	Slots       bool
	Label       string
	MaxWait     time.Duration // 0: no bound; negative: one attempt
	MaxHold     time.Duration // 0: no bound
	MinReplicas int
	ShowQueue   bool // somebody looks at what the front prints
	Front       int  // the front's process id
}

// An order is what the front tells the keeper.
type order struct {
	Kind  string
	PID   int `json:",omitempty"` // of the command
	Group int `json:",omitempty"` // of the command, if it has one of its own
}

const (
	orderStart   = "start"   // the command runs
	orderTell    = "tell"    // until when the lease is trusted
	orderRelease = "release" // the last of its processes is gone
)

// A notice is what the keeper tells the front.
type notice struct {
	Kind string

	Queue   *queue    `json:",omitempty"`
	Granted *granted  `json:",omitempty"`
	Renewal *renewal  `json:",omitempty"`
	Loss    *Loss     `json:",omitempty"`
	Failure *Failure  `json:",omitempty"`
	Until   *boottime `json:",omitempty"` // when the trust window ends
	Line    string    `json:",omitempty"` // for the log
}

const (
	noticeQueue    = "queue"    // how the wait stands
	noticeGranted  = "granted"  // the lease begins
	noticeRenewal  = "renewal"  // one that succeeded, or failed
	noticeTold     = "told"     // the answer to orderTell
	noticeLost     = "lost"     // the lease has ended
	noticeKilled   = "killed"   // the keeper has killed the command
	noticeFailed   = "failed"   // there is no lease
	noticeReleased = "released" // the permit went back, or time takes it
)

// A queue is how the wait stands.
type queue struct {
	Place, Waiting int // 0: not yet in the queue
	Held, Capacity int
	Longest        string        // who holds a permit for the longest time
	LongestFor     time.Duration // for how long
}

// granted is a lease that begins.
type granted struct {
	ID     string
	Owner  string
	Token  int64
	Slots  []int
	Weight int
	TTL    time.Duration
	Waited time.Duration
}

// A renewal is one attempt.
type renewal struct {
	Slack time.Duration
	Err   string `json:",omitempty"`
}

// A Loss says why a lease ended before its command.
type Loss struct {
	Reason       string    `json:"reason"` // expired, removed, revoked, max_hold, keeper
	Err          string    `json:"error"`
	TrustedUntil time.Time `json:"trusted_until"`
	LastGone     time.Time `json:"last_process_gone"`
}

// A Failure says why there is no lease.
type Failure struct {
	Exit    int
	Outcome string
	Text    string
}

// A line is one end of the socket.
type line struct {
	conn net.Conn
	in   *json.Decoder

	mu  sync.Mutex
	out *json.Encoder
}

func newLine(file *os.File) (*line, error) {
	conn, err := net.FileConn(file)
	_ = file.Close()
	if err != nil {
		return nil, err
	}
	return &line{conn: conn, in: json.NewDecoder(conn), out: json.NewEncoder(conn)}, nil
}

// send is for what the other end need not be alive for.
func (l *line) send(message any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = l.conn.SetWriteDeadline(time.Now().Add(time.Second)) // it may be stopped
	_ = l.out.Encode(message)
}

func (l *line) receive(message any) error { return l.in.Decode(message) }
