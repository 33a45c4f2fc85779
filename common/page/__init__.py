"""One HTML file that holds everything stored about papers: for readers who have neither this repository nor a network."""
