"""The specification: read a test's name as a sentence about the module its file is named after."""
