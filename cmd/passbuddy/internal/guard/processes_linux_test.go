package guard

import (
	"crypto/rand"
	"os"
	"os/exec"
	"testing"
)

func TestParseStat(t *testing.T) {
	for line, want := range map[string]process{
		"7 (a (b) c) S 3 5 5 0 -1": {pid: 7, parent: 3, group: 5, name: "a (b) c"},
		"7 (sh) Z 3 5 5 0 -1":      {pid: 7, parent: 3, group: 5, name: "sh", zombie: true},
	} {
		if got, ok := parseStat(7, []byte(line)); !ok || got != want {
			t.Errorf("%q: %+v", line, got)
		}
	}
	for _, line := range []string{"", "7 sh S 3 5", "7 (sh", "7 (sh) S", "7 (sh) S x 5"} {
		if got, ok := parseStat(7, []byte(line)); ok {
			t.Errorf("%q: %+v", line, got)
		}
	}
}

// When the front has ended, all that its command has left is known by its group and its environment. Nothing else may be
// taken for it: it will be killed.
func TestNothingElseIsTakenForACommandWhoseFrontHasEnded(t *testing.T) {
	orphan := &command{keeper: os.Getpid(), mark: mark("gpu", rand.Text())}
	if found := orphan.processes(true); len(found) > 0 {
		t.Fatalf("found %v", found) // and nothing is killed
	}
	cmd := exec.Command("sleep", "1000")
	cmd.Env = append(os.Environ(), heldVariable+"=other=1,"+orphan.mark)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	if found := orphan.processes(true); len(found) != 1 || found[0].pid != cmd.Process.Pid {
		t.Fatalf("found %v", found)
	}
	if left := orphan.kill(0, func() { _ = cmd.Wait() }); len(left) != 1 {
		t.Errorf("the first round found %v", left)
	}
	if found := orphan.processes(true); len(found) > 0 {
		t.Errorf("found %v", found)
	}
}
