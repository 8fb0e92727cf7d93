package server

// Routes is the table of patterns, for the test that everything in it is guarded.
var Routes = routes
