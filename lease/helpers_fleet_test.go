package lease_test

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/eqworks/passbuddy/lease"
)

// A member is a process of a fleet: this test binary, started again. It takes orders over stdin, one JSON
// object a line, answers over stdout when one is carried out, and ends when stdin does: when its parent
// closes it, or dies.
type member struct {
	t     testing.TB
	slot  int // its place in the judge
	judge *judge
	cmd   *exec.Cmd
	stdin io.WriteCloser
	gone  chan struct{} // closed when it has ended

	mu      sync.Mutex
	last    int
	waiting map[int]chan report
}

const memberEnv = "PASSBUDDY_TEST_MEMBER"

// An order says what a member is to do.
type order struct {
	Number int
	Do     string

	URL, Judge string // open
	Slot       int
	Config     lease.Config

	Callers, Each int           // work: how many callers, how often each acquires; 0: until stop
	Section       time.Duration // for how long each holds
	Rival         int           // and whose turns to count while one waits
	Patient       bool          // and whether to go on after an error of Redis
	Key           string        // hold, release, end: which lease
	Weight        int
}

// A report is what came of it.
type report struct {
	Number int
	Err    string
	Served []int // work: by caller
	Turns  []int // work with one caller: what the rival got during each wait
	Lost   int   // work: leases that ended before they were released
	ID     string
	Token  int64
	Revoked, Ignored,
	At int64 // when it happened, in ns since the epoch
}

// startFleet starts n processes that use one semaphore.
func startFleet(t testing.TB, n int, j *judge, url string, cfg lease.Config) []*member {
	t.Helper()
	fleet, opened := make([]*member, n), make([]<-chan report, n)
	for i := range fleet {
		fleet[i] = startMember(t, j)
		opened[i] = fleet[i].send(order{Do: "open", URL: url, Judge: j.path, Slot: fleet[i].slot, Config: cfg})
	}
	t.Cleanup(func() { // they end at the same time
		for _, p := range fleet {
			_ = p.stdin.Close()
		}
	})
	for i, p := range fleet {
		if a := p.await(opened[i]); a.Err != "" {
			t.Fatal(a.Err)
		}
	}
	return fleet
}

func startMember(t testing.TB, j *judge) *member {
	t.Helper()
	p := &member{t: t, judge: j, slot: j.members, cmd: exec.Command(os.Args[0]), gone: make(chan struct{}), waiting: map[int]chan report{}}
	if j.members++; j.members > maxMembers {
		t.Fatalf("a judge counts %d processes at most", maxMembers)
	}
	p.cmd.Env = append(os.Environ(), memberEnv+"=yes", "GORACE=halt_on_error=1 atexit_sleep_ms=0")
	p.cmd.Stderr = os.Stderr
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go p.listen(out)
	t.Cleanup(p.close)
	return p
}

// listen hands on the answers until the process ends.
func (p *member) listen(out io.Reader) {
	lines := json.NewDecoder(bufio.NewReader(out))
	for {
		var a report
		if lines.Decode(&a) != nil {
			break
		}
		p.mu.Lock()
		p.waiting[a.Number] <- a
		delete(p.waiting, a.Number)
		p.mu.Unlock()
	}
	_ = p.cmd.Wait()
	close(p.gone)
}

// send gives an order; its answer comes on the channel.
func (p *member) send(o order) <-chan report {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last++
	o.Number = p.last
	answers := make(chan report, 1)
	p.waiting[o.Number] = answers
	line, err := json.Marshal(o)
	if err != nil {
		panic(err) // a struct of plain fields
	}
	_, _ = p.stdin.Write(append(line, '\n')) // an error means that it has ended, and that is seen when its answer is missed
	return answers
}

// await returns the answer, or fails the test when the process ends first.
func (p *member) await(answers <-chan report) report {
	p.t.Helper()
	select {
	case a := <-answers:
		return a
	case <-p.gone:
		p.t.Fatalf("process %d ended: %v", p.slot, p.cmd.ProcessState)
	case <-time.After(2 * time.Minute):
		p.t.Fatalf("process %d does not answer", p.slot)
	}
	return report{}
}

// must carries an order out, without an error.
func (p *member) must(o order) report {
	p.t.Helper()
	a := p.await(p.send(o))
	if a.Err != "" {
		p.t.Fatalf("process %d: %s: %s", p.slot, o.Do, a.Err)
	}
	return a
}

// mustHaveWorked returns what came of work: no lease was lost, no call failed.
func (p *member) mustHaveWorked(working <-chan report) report {
	p.t.Helper()
	a := p.await(working)
	if a.Err != "" || a.Lost > 0 {
		p.t.Errorf("process %d: %d leases lost, error %q", p.slot, a.Lost, a.Err)
	}
	return a
}

// kill ends the process with SIGKILL, wherever it is, and takes it out of the judge's count.
func (p *member) kill() {
	_ = p.cmd.Process.Kill()
	<-p.gone
	p.judge.bury(p.slot)
}

// close has the process end by itself: it closes its manager.
func (p *member) close() {
	_ = p.stdin.Close()
	select {
	case <-p.gone:
	case <-time.After(30 * time.Second):
		p.t.Errorf("process %d does not end", p.slot)
		_ = p.cmd.Process.Kill()
		<-p.gone
	}
}
