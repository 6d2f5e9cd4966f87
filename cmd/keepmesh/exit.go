package main

import "errors"

// exitError ends a command with a code of its own; an empty text has been
// printed already.
type exitError struct {
	code int
	text string
}

func (e exitError) Error() string { return e.text }

func as[T error](err error, target *T) bool { return errors.As(err, target) }
