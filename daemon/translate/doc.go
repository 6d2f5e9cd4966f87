// Package translate turns the configuration's model into what the engines
// take. It is the one place that knows both sides: engines never see the
// file's words, the model never sees an engine's types.
//
// The package is pure. What it cannot say exactly (a route attribute that no
// engine carries out yet) it returns as a note, never drops in silence.
package translate
