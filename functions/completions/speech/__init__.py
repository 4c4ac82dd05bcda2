"""Text as it is spoken: buffer words, think tags, sentences, and our phrases in 24 languages."""
