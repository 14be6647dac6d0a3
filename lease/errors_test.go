package lease

import (
	"errors"
	"fmt"
	"io"
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
