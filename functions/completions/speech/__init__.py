"""Text as it is spoken: buffer words, sentences, models' marks, and our phrases in 24 languages."""
