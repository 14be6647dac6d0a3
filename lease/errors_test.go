package lease

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"strings"
	"testing"
)

// Each server has its own words for a permission that is missing; the caller is told what to do.
func TestADeniedPermissionIsAnErrorThatSaysWhatToDo(t *testing.T) {
	for _, words := range []string{
		"NOPERM this user has no permissions to run the 'evalsha' command",
		"NOPERM User READONLY has no permissions to run the 'evalsha' command", // which is a name here
		"ERR The user executing the script can't run this command or subcommand script: 37df, on @user_script:3.",
		"ERR ACL failure in script: User BUSY has no permissions to run the 'zcard' command script: 37df, on @user_script:3.",
	} {
		said := (&RedisError{Op: "acquire", Name: "gpu", Err: fmt.Errorf("NOPERM ZCARD: %w", redisError(words))}).Error()
		if !strings.Contains(said, words) || !strings.Contains(said, "lacks a permission") {
			t.Errorf("the caller is told %q", said)
		}
	}
}

// Who sees an error finds it in docs/operations.md: every sentinel, every type and every hint.
func TestEveryErrorIsExplained(t *testing.T) {
	text, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	explained := func(what string) {
		if !strings.Contains(string(text), what) {
			t.Errorf("docs/operations.md does not have %q", what)
		}
	}
	for _, h := range hints {
		explained("| " + h.do + " |")
	}
	file, err := parser.ParseFile(token.NewFileSet(), "errors.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for name, o := range file.Scope.Objects {
		if ast.IsExported(name) && (strings.HasPrefix(name, "Err") || strings.HasSuffix(name, "Error") || strings.HasPrefix(name, "Loss") && o.Kind == ast.Con) {
			explained("`" + name + "`")
			found++
		}
	}
	if found < 15 {
		t.Errorf("found %d errors only", found)
	}
}

func TestErrorsLeadToTheirSentinelsAndToTheClientsError(t *testing.T) {
	lost := fmt.Errorf("work: %w", &LostError{Name: "gpu", ID: "id", Err: &RedisError{Op: "renew", Name: "gpu", Err: io.EOF}})
	var trouble *RedisError
	if !errors.Is(lost, ErrLost) || !errors.Is(lost, io.EOF) || !errors.As(lost, &trouble) || trouble.Op != "renew" {
		t.Error(lost)
	}
	for err, want := range map[error]error{
		&CapacityError{}: ErrAtCapacity, &HoldError{}: ErrMaxHold, &OptionError{}: ErrOption,
	} {
		if !errors.Is(err, want) || errors.Is(err, ErrLost) {
			t.Errorf("%T is not %v", err, want)
		}
	}
}
