//! Pages of listings: newest first, filtered, with exact totals, and tokens that survive removals.

/// A page to list: newest first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PageRequest {
    /// Most items; none for all.
    pub size: Option<usize>,
    /// Begin at this id or the next older one; none for the newest.
    pub from: Option<u128>,
}

/// A page of a listing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page<T> {
    /// The items, newest first.
    pub items: Vec<T>,
    /// The id of the next page's first item, if there is one.
    pub next: Option<u128>,
    /// How many items there are on all pages.
    pub total: usize,
}

impl<T> Page<T> {
    /// A page that nothing was offered to yet.
    pub(crate) const fn empty() -> Self {
        Self { items: Vec::new(), next: None, total: 0 }
    }

    /// Counts the next older item, and takes it if it belongs on the page asked for.
    pub(crate) fn offer(&mut self, request: PageRequest, id: u128, item: T) {
        self.total += 1;
        if request.from.is_some_and(|from| id > from) || self.next.is_some() {
            return;
        }
        if request.size.is_some_and(|size| self.items.len() >= size) {
            self.next = Some(id);
        } else {
            self.items.push(item);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(ids: &[u128], size: Option<usize>, from: Option<u128>) -> Page<u128> {
        let mut page = Page::empty();
        ids.iter().for_each(|id| page.offer(PageRequest { size, from }, *id, *id));
        page
    }

    #[test]
    fn a_page_names_the_next_ones_first_item() {
        assert_eq!(page(&[5, 4, 2], Some(2), None), Page { items: vec![5, 4], next: Some(2), total: 3 });
        assert_eq!(page(&[5, 4, 2], Some(2), Some(2)), Page { items: vec![2], next: None, total: 3 });
        assert_eq!(page(&[5, 4, 2], None, Some(4)), Page { items: vec![4, 2], next: None, total: 3 });
        assert_eq!(page(&[], Some(2), None), Page::empty());
    }

    #[test]
    fn a_token_whose_item_was_removed_goes_on_after_it() {
        assert_eq!(page(&[5, 2], Some(2), Some(4)), Page { items: vec![2], next: None, total: 2 });
    }
}
