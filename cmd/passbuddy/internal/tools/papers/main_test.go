package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestThereIsAPageForEachCommand(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "1764460800")
	dir := t.TempDir()
	if err := write(dir, "v1.2.3"); err != nil {
		t.Fatal(err)
	}
	for _, page := range []string{"passbuddy", "passbuddy-run", "passbuddy-watch", "passbuddy-demo", "passbuddy-doctor", "passbuddy-completion-zsh"} {
		b, err := os.ReadFile(filepath.Join(dir, "man", "man1", page+".1"))
		if err != nil || !strings.Contains(string(b), `"Nov 2025" "passbuddy v1.2.3"`) {
			t.Errorf("%s: %v: %.200s", page, err, b)
		}
	}
	for _, file := range []string{"passbuddy.bash", "_passbuddy", "passbuddy.fish", "passbuddy.ps1"} {
		if info, err := os.Stat(filepath.Join(dir, "completion", file)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", file, err)
		}
	}
}
