package leasehttp_test

import (
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/eqworks/passbuddy/lease"
	"github.com/eqworks/passbuddy/lease/leasehttp"
	"github.com/eqworks/passbuddy/lease/leasetest"
)

func TestWrongOptionsPanicWhenTheServerIsSetUp(t *testing.T) {
	type (
		options      = leasehttp.Options
		shareOptions = leasehttp.ShareOptions
	)
	s, err := leasetest.New(t).Semaphore(lease.Config{Name: "x", Capacity: 1})
	if err != nil {
		t.Fatal(err)
	}
	pick := func(*http.Request) (*lease.Semaphore, error) { return s, nil }
	for _, tc := range []struct {
		option, value string
		make          func()
	}{
		{"s", "nil", func() { leasehttp.Limit(nil, options{}) }},
		{"pick", "nil", func() { leasehttp.LimitBy(nil, options{}) }},
		{"p", "nil", func() { leasehttp.Share(nil, shareOptions{}) }},
		{"next", "nil", func() { leasehttp.Limit(s, options{})(nil) }},
		{"next", "nil", func() { leasehttp.LimitBy(pick, options{})(nil) }},
		{"next", "nil", func() { leasehttp.Share(s.Permit(), shareOptions{})(nil) }},
		{"leasehttp.Options.Status", "200", func() { leasehttp.Limit(s, options{Status: 200}) }},
		{"leasehttp.Options.Status", "600", func() { leasehttp.Share(s.Permit(), shareOptions{Options: options{Status: 600}}) }},
	} {
		func() {
			defer func() {
				var refused *lease.OptionError
				err, _ := recover().(error)
				if !errors.As(err, &refused) || refused.Option != tc.option || fmt.Sprint(refused.Value) != tc.value {
					t.Errorf("%s = %s: the panic is %v", tc.option, tc.value, err)
				}
			}()
			tc.make()
		}()
	}
}
