package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/eqworks/passbuddy/internal/view"
)

func seconds(s *float64) string {
	if s == nil {
		return "-"
	}
	return view.Brief(time.Duration(*s * float64(time.Second)))
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func numbers(list []int) string {
	text := make([]string, len(list))
	for i, n := range list {
		text[i] = fmt.Sprint(n)
	}
	return dash(strings.Join(text, ","))
}
