package redistest

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
)

func TestServerEndsWithItsTest(t *testing.T) {
	redisServer(t)
	var run *process
	t.Run("owner", func(t *testing.T) {
		s := Start(t)
		s.Pause()
		run = s.run
	})
	if run == nil {
		t.Fatal("the server did not start")
	}
	select {
	case <-run.exited:
	default:
		t.Errorf("process %d outlived its test", run.cmd.Process.Pid)
	}
}

func TestServerThatEndedByItselfFailsItsTest(t *testing.T) {
	s := Start(t)
	if err := s.run.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-s.run.exited
	fake := &fakeTB{TB: t}
	s.t = fake
	s.Kill()
	if !strings.Contains(fake.errored, "ended by itself (signal: killed)") {
		t.Errorf("reported %q", fake.errored)
	}
}

func TestServerThatWasShutDownFailsNothing(t *testing.T) {
	t.Parallel()
	s := Start(t)
	dial(t, s.Addr()).send("SHUTDOWN NOSAVE")
	<-s.run.exited
	s.Kill()
}

// TestServerDiesWithTheTestBinary runs this test again in a process of its
// own, kills that, and waits for the server's end of a connection to close.
func TestServerDiesWithTheTestBinary(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux kills a child with its parent")
	}
	if os.Getenv("REDISTEST_VICTIM") != "" {
		s := Start(t)
		_, _ = os.Stdout.WriteString("serving " + s.Addr() + "\n")
		_, _ = io.Copy(io.Discard, os.Stdin)
		return
	}
	redisServer(t)
	victim := exec.Command(os.Args[0], "-test.run=^TestServerDiesWithTheTestBinary$")
	victim.Env = append(os.Environ(), "REDISTEST_VICTIM=1")
	stdin, err := victim.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := victim.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	addr, ok := strings.CutPrefix(strings.TrimSpace(line), "serving ")
	if !ok {
		_ = victim.Process.Kill()
		_ = victim.Wait()
		t.Fatalf("the victim said %q, %v", line, err)
	}
	conn := dial(t, addr)
	conn.mustAnswer("PING", "+PONG")
	if err := victim.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = victim.Wait()
	conn.mustEnd()
}
