package lease_test

import (
	"context"
	"errors"

	"github.com/eqworks/passbuddy/lease"
)

func benchMember(context.Context, *lease.Manager, *lease.Semaphore, *judge, order, <-chan struct{}) (report, error) {
	return report{}, errors.New("later")
}
