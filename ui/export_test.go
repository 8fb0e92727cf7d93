package ui

// Sentence makes a message a sentence, for the test of other alphabets than ours.
var Sentence = sentence
